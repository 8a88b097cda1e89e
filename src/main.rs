//! Arguments to role to exit code.

fn main() -> std::process::ExitCode {
    switchhook::cli::run()
}
