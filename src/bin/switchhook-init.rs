//! PID 1 as a program of its own: small, static, without the commands.

fn main() -> std::process::ExitCode {
    switchhook::init::command::run(std::env::args_os().skip(1))
}
