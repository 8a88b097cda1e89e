//! The commands: one file per command, and `output` as the only printer.

pub mod acl;
#[cfg(feature = "services")]
pub mod autoban;
#[cfg(feature = "services")]
pub mod cert;
pub mod codecs;
pub mod doctor;
pub mod events;
pub mod health;
pub mod logs;
#[cfg(feature = "services")]
pub mod mail;
pub mod migrate;
#[cfg(feature = "services")]
pub mod minivm_send;
pub mod output;
pub mod pbx_alive;
pub mod pbx_reload;
pub mod phone;
pub mod prepare;
pub mod processes;
pub mod reach;
pub mod reexec;
pub mod reload_units;
pub mod service;
#[cfg(feature = "services")]
pub mod sms;
pub mod status;
pub mod sv;
pub mod top;
pub mod tree;
pub mod verify;
#[cfg(feature = "services")]
pub mod websms;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::paths::Paths;
use crate::config::pbx::Pbx;
use crate::config::{self, registry};
use crate::init::programs::{INIT_PROGRAM, beside};
use crate::sys::environment;

/// A telephone exchange in one container
#[derive(Debug, Parser)]
#[command(name = "switchhook", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the exchange: PID 1 of the container
    #[command(after_long_help = variables_help())]
    Init(RootArgs),
    /// Prepare the volume and the certificate (started by PID 1)
    #[command(hide = true)]
    Prepare(prepare::PrepareArgs),
    /// Print what the services say (started by PID 1)
    #[command(hide = true)]
    Logd,
    /// Say whether the PBX answers on its console and takes SIP requests (started by PID 1)
    #[command(hide = true)]
    PbxAlive(pbx_alive::PbxAliveArgs),
    /// Have the PBX read its configuration again, module by module (started by PID 1)
    #[command(hide = true)]
    PbxReload(pbx_reload::PbxReloadArgs),
    /// Follow our address outside (started by PID 1)
    #[command(hide = true)]
    Natd(RootArgs),
    /// Say whether the exchange is well: exit code 0 or 1 and one line of reason
    Health(health::HealthArgs),
    /// Show the exchange and its services
    Status(status::StatusArgs),
    /// Show the services as a tree of what waits for what, with their processes
    Tree(tree::TreeArgs),
    /// Watch the services live, and restart, stop or start them by a key
    Top(top::TopArgs),
    /// Show what happened to the services and why, and follow it
    Events(events::EventsArgs),
    /// Show the last lines that services said, and follow them
    Logs(logs::LogsArgs),
    /// Start a service
    Start(service::ServiceArgs),
    /// Stop a service
    Stop(service::ServiceArgs),
    /// Stop a service and start it again
    Restart(service::ServiceArgs),
    /// Let a service read its configuration again
    Reload(service::ServiceArgs),
    /// End a service's processes at once; it is then started again
    Kill(service::ServiceArgs),
    /// runit's `sv`, also under that name: sv [-w SECONDS] COMMAND SERVICE...
    #[command(disable_help_flag = true)]
    Sv {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Read the unit files again, and go over to what differs
    #[command(visible_alias = "daemon-reload")]
    ReloadUnits(reload_units::ReloadUnitsArgs),
    /// Go on as another binary of PID 1, while every service runs on
    Reexec(reexec::ReexecArgs),
    /// Check the units without starting anything: exit code 0, or 78 when they cannot be used
    Verify(verify::VerifyArgs),
    /// Say what a volume from mlan/docker-asterisk needs, do it, or take it back
    Migrate(migrate::MigrateArgs),
    /// Look for what is wrong with the set-up, and say why and what to do: exit code 0 or 1
    Doctor(doctor::DoctorArgs),
    /// Add, list, show and remove phones
    Phone(phone::PhoneArgs),
    /// Show, try and change Asterisk's named lists of addresses (Named ACLs)
    Acl(acl::AclArgs),
    /// Show which codecs the exchange can transcode
    Codecs(codecs::CodecsArgs),
    /// Show who is banned and why, ban and free by hand; also under the name `autoban`
    #[cfg(feature = "services")]
    Autoban(autoban::AutobanArgs),
    /// Show the certificate, renew and prove it
    #[cfg(feature = "services")]
    #[command(visible_alias = "certs")]
    Cert(cert::CertArgs),
    /// Text messages between carriers and phones; also under the name `websms`
    #[cfg(feature = "services")]
    Websms(websms::WebsmsArgs),
    /// List, show, send and erase text messages, and test a carrier's webhook
    #[cfg(feature = "services")]
    Sms(sms::SmsArgs),
    /// Hand a mail in for a mail server, as sendmail does; also under the name `minivm-send`
    #[cfg(feature = "services")]
    MinivmSend(minivm_send::SendArgs),
    /// List, show, retry and remove mails that are not sent yet
    #[cfg(feature = "services")]
    Mail(mail::MailArgs),
    /// Print the reference of the environment variables, in Markdown
    #[command(hide = true)]
    Variables,
}

/// Where the appliance lives.
#[derive(Debug, Args)]
pub struct RootArgs {
    /// Look for everything below this directory
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
}

impl RootArgs {
    pub fn paths(&self) -> Paths {
        Paths::under(&self.root).of_pbx(Pbx::chosen(&crate::sys::environment::all()))
    }
}

/// The variables as text for `init --help`.
fn variables_help() -> String {
    let mut out = String::from("Environment variables:\n");
    for v in registry::VARIABLES {
        let default = if v.default.is_empty() {
            String::new()
        } else {
            format!(" [default: {}]", v.default)
        };
        out.push_str(&format!(
            "  {}={}{default}\n      {}\n",
            v.name,
            registry::form_text(v.form),
            v.meaning
        ));
    }
    out
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    #[cfg(feature = "services")]
    if let Some(message) = websms::hand_in::asked(std::env::args_os()) {
        return websms::hand_in::run(&message);
    }
    let called_as = std::env::args_os().next().unwrap_or_default();
    match Path::new(&called_as).file_name().and_then(OsStr::to_str) {
        Some("sv") => return sv::run(std::env::args().skip(1)),
        #[cfg(feature = "services")]
        Some("autoban") => return autoban::run_alone(std::env::args_os()),
        #[cfg(feature = "services")]
        Some("websms") => return websms::run_alone(std::env::args_os()),
        #[cfg(feature = "services")]
        Some("minivm-send") => return minivm_send::run_alone(std::env::args_os()),
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_usage = error.use_stderr();
            let _ = error.print();
            return ExitCode::from(if is_usage { 64 } else { 0 });
        }
    };
    match cli.command {
        Command::Init(args) => init(&args),
        Command::Prepare(args) => prepare::run(&args),
        Command::Logd => logd(),
        Command::PbxAlive(args) => pbx_alive::run(&args),
        Command::PbxReload(args) => pbx_reload::run(&args),
        Command::Natd(args) => natd(&args),
        Command::Health(args) => health::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Tree(args) => tree::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Start(args) => service::run(&args, service::Order::Start),
        Command::Stop(args) => service::run(&args, service::Order::Stop),
        Command::Restart(args) => service::run(&args, service::Order::Restart),
        Command::Reload(args) => service::run(&args, service::Order::Reload),
        Command::Kill(args) => service::run(&args, service::Order::Kill),
        Command::Sv { words } => sv::run(words.into_iter()),
        Command::ReloadUnits(args) => reload_units::run(&args),
        Command::Reexec(args) => reexec::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Phone(args) => phone::run(args),
        Command::Acl(args) => acl::run(args),
        Command::Codecs(args) => codecs::run(&args),
        #[cfg(feature = "services")]
        Command::Autoban(args) => autoban::run(&args),
        #[cfg(feature = "services")]
        Command::Cert(args) => cert::run(&args),
        #[cfg(feature = "services")]
        Command::Websms(args) => websms::run(&args),
        #[cfg(feature = "services")]
        Command::Sms(args) => sms::run(&args),
        #[cfg(feature = "services")]
        Command::MinivmSend(args) => minivm_send::run(&args),
        #[cfg(feature = "services")]
        Command::Mail(args) => mail::run(&args),
        Command::Variables => {
            output::Output::new(false).text(&registry::markdown());
            ExitCode::SUCCESS
        }
    }
}

/// PID 1 is a program of its own, which takes this one's place.
fn init(args: &RootArgs) -> ExitCode {
    let program = beside(INIT_PROGRAM);
    let arguments = ["--root".into(), args.root.clone().into_os_string()];
    let error = crate::sys::process::replace(&program, &arguments);
    let out = output::Output::new(false);
    out.problem(
        &format!("cannot run `{}`: {error}", program.display()),
        Some("PID 1 is a program of its own: it must lie in the same directory as `switchhook`"),
    );
    out.finish(output::Exit::Failed)
}

fn logd() -> ExitCode {
    // PID 1 has refused a bad environment before it started us.
    let Ok(config) = config::read(&environment::all()) else {
        return ExitCode::from(78);
    };
    match crate::logd::run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let out = output::Output::new(false);
            out.error(&error, None);
            out.finish(output::Exit::Failed)
        }
    }
}

fn natd(args: &RootArgs) -> ExitCode {
    let out = output::Output::new(false);
    // PID 1 has refused a bad environment before it started us.
    let Ok(config) = config::read(&environment::all()) else {
        return out.finish(output::Exit::Configuration);
    };
    match crate::nat::daemon::run(&args.paths(), &config.reach) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out.error(&error, None);
            out.finish(output::Exit::Failed)
        }
    }
}

/// Runs a command that stands under a name of its own; what cannot be understood ends with 64, and help with 0.
#[cfg(feature = "services")]
fn alone<A: clap::Parser>(
    words: impl Iterator<Item = std::ffi::OsString>,
    run: impl FnOnce(&A) -> std::process::ExitCode,
) -> std::process::ExitCode {
    match A::try_parse_from(words) {
        Ok(args) => run(&args),
        Err(error) => {
            let is_usage = error.use_stderr();
            let _ = error.print();
            std::process::ExitCode::from(if is_usage { 64 } else { 0 })
        }
    }
}
