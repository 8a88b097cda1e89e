fn main() { println!("switchhook"); }
