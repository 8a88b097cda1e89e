fn main() {
    println!("switchhook");
}
