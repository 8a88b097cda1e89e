//! One try: a letter to its server by SMTP (RFC 5321), with TLS and a password where its route asks for them.
//!
//! Over lettre. Certificates are verified always, by the system's authorities (and those of `SSL_CERT_FILE`) and the route's
//! own. It decides nothing about what comes next. Invariant: a mail and a password go out only after the protection that the
//! route asks for is there.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use lettre::Address;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{self, response::Response};
use rustls::CertificateError;

use super::letter::{Letter, Trouble, Verdict};
use super::route::{Password, Protocol, Route};
use crate::sys::file::read_text;

/// For the connection, and for each answer. RFC 5321, 4.5.3.2 is more patient; nobody waits for this one.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the environment may hold the password.
pub const PASSWORD: &str = "SWITCHHOOK_MAIL_PASSWORD";
/// Or the file that holds it.
pub const PASSWORD_FILE: &str = "SWITCHHOOK_MAIL_PASSWORD_FILE";

/// What a try needs of the world.
pub struct World<'a> {
    /// The name by which we greet.
    pub host_name: &'a str,
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Tries once, and takes a few minutes at most.
#[must_use]
pub fn send(letter: &Letter, mail: &[u8], world: &World<'_>) -> Verdict {
    let Some(route) = &letter.route else {
        return never("no mail server is known for it", Some(NO_ROUTE));
    };
    let envelope = match envelope(letter) {
        Ok(envelope) => envelope,
        Err(reason) => return never(reason, None),
    };
    match talk(route, &envelope, mail, world) {
        Ok(response) => {
            let words: Vec<&str> = response.message().collect();
            Verdict::Taken(format!("{} {}", response.code(), words.join(" ")))
        }
        Err(verdict) => *verdict,
    }
}

/// What to do about a letter without a server.
pub const NO_ROUTE: &str = "set `mailcmd` in minivm.conf right, then `switchhook mail retry` sends by the server that it names";

fn never(reason: impl Into<String>, hint: Option<&str>) -> Verdict {
    Verdict::Never(Trouble {
        reason: reason.into(),
        hint: hint.map(ToOwned::to_owned),
        is_common: false,
    })
}

fn later(reason: String, hint: Option<&str>) -> Box<Verdict> {
    Box::new(Verdict::Later(Trouble {
        reason,
        hint: hint.map(ToOwned::to_owned),
        is_common: true,
    }))
}

fn envelope(letter: &Letter) -> Result<Envelope, String> {
    let address = |text: &str| {
        let address = text.parse::<Address>();
        address.map_err(|_| format!("`{text}` is no address that mail can go to"))
    };
    let from = match letter.from.as_str() {
        "" => None,
        from => Some(address(from)?),
    };
    if letter.to.is_empty() {
        return Err("it has no recipient".to_owned());
    }
    Envelope::new(from, vec![address(&letter.to)?]).map_err(|error| error.to_string())
}

fn talk(
    route: &Route,
    envelope: &Envelope,
    mail: &[u8],
    world: &World<'_>,
) -> Result<Response, Box<Verdict>> {
    let tls = match route.protocol {
        Protocol::Smtp => None,
        Protocol::Smtps | Protocol::Starttls => Some(parameters(route)?),
    };
    let credentials = credentials(route, world)?;
    let hello = ClientId::Domain(world.host_name.to_owned());
    let from_the_first = tls.as_ref().filter(|_| route.protocol == Protocol::Smtps);
    let at = (route.host.as_str(), route.port);
    let mut connection = SmtpConnection::connect(at, Some(PATIENCE), &hello, from_the_first, None)
        .map_err(|error| told(route, Step::Connect, &error))?;
    if let (Protocol::Starttls, Some(tls)) = (route.protocol, &tls) {
        if !connection.can_starttls() {
            connection.abort();
            let reason = format!("{route} offers no STARTTLS: nothing was sent to it");
            return Err(later(
                reason,
                Some(
                    "`-P smtps` is for servers with TLS from the first byte on, mostly on port 465",
                ),
            ));
        }
        connection
            .starttls(tls, &hello)
            .map_err(|error| told(route, Step::Connect, &error))?;
    }
    if let Some(credentials) = credentials {
        let mechanisms = [Mechanism::Plain, Mechanism::Login];
        if let Err(error) = connection.auth(&mechanisms, &credentials) {
            connection.abort();
            return Err(told(route, Step::LogIn, &error));
        }
    }
    // lettre ends the last line itself.
    let mail = mail.strip_suffix(b"\r\n").unwrap_or(mail);
    let answer = connection.send(envelope, mail);
    // The answer is there; how they part is no matter of the letter.
    connection.abort();
    answer.map_err(|error| told(route, Step::HandOver, &error))
}

fn parameters(route: &Route) -> Result<TlsParameters, Box<Verdict>> {
    let mut builder = TlsParameters::builder(route.host.clone());
    if let Some(path) = &route.ca_file {
        let why = |problem: String| {
            let reason = format!("the authority's certificate cannot be used: {problem}");
            later(
                reason,
                Some("`--ca-file` must name a file in PEM that the user `mail` may read"),
            )
        };
        let text = read_text(path).map_err(|error| why(chain(&error)))?;
        let certificate = Certificate::from_pem(text.as_bytes())
            .map_err(|_| why(format!("`{}` is no PEM", path.display())))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|error| {
        later(
            format!("TLS to {route} cannot be prepared: {}", chain(&error)),
            None,
        )
    })
}

fn credentials(route: &Route, world: &World<'_>) -> Result<Option<Credentials>, Box<Verdict>> {
    let Some(user) = &route.user else {
        return Ok(None);
    };
    let of_file = |path: &Path| match read_text(path) {
        // One line end: an editor's, not the password's.
        Ok(text) => Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned()),
        Err(error) => Err(later(
            format!("the password for {route} cannot be read: {}", chain(&error)),
            Some("the user `mail` must be able to read that file"),
        )),
    };
    let password = match &route.password {
        Some(Password::Given(secret)) => secret.expose().to_owned(),
        Some(Password::File(path)) => of_file(path)?,
        Some(Password::Environment) | None => {
            match ((world.variable)(PASSWORD), (world.variable)(PASSWORD_FILE)) {
                (Some(_), Some(_)) => {
                    let reason = format!("{PASSWORD} and {PASSWORD_FILE} are both set");
                    return Err(later(reason, Some("set one of them")));
                }
                (Some(password), None) => password,
                (None, Some(path)) => of_file(Path::new(&path))?,
                (None, None) => {
                    let reason = format!("there is no password for `{user}` at {route}");
                    return Err(later(
                        reason,
                        Some(
                            "give one by `-p`, `--password-file`, or SWITCHHOOK_MAIL_PASSWORD_FILE of the container",
                        ),
                    ));
                }
            }
        }
    };
    Ok(Some(Credentials::new(user.clone(), password)))
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Connect,
    LogIn,
    HandOver,
}

fn told(route: &Route, step: Step, error: &smtp::Error) -> Box<Verdict> {
    let is_common = step != Step::HandOver || error.status().is_none();
    let (reason, hint) = match error.status() {
        Some(code) => {
            let words = error.source().map(ToString::to_string).unwrap_or_default();
            let doing = match step {
                Step::Connect => "does not serve us",
                Step::LogIn => "does not take user and password",
                Step::HandOver => "does not take the mail",
            };
            (format!("{route} {doing}: {code} {}", words.trim()), None)
        }
        None => match certificate(error) {
            Some(problem) => (
                format!(
                    "the certificate of {route} {}: nothing was sent to it",
                    sentence(problem)
                ),
                Some(match problem {
                    CertificateError::UnknownIssuer => {
                        "name the certificate of its authority by `--ca-file`, or for the whole container by SSL_CERT_FILE"
                    }
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. } => {
                        "write the server's name in minivm.conf as its certificate has it"
                    }
                    _ => "the server's owner must put that right",
                }),
            ),
            None => {
                let verb = match error.is_client() {
                    true => "cannot take it",
                    false => "cannot be reached",
                };
                // Without lettre's name for the kind.
                let why = error.source().map_or_else(|| error.to_string(), chain);
                (format!("{route} {verb}: {why}"), None)
            }
        },
    };
    let trouble = Trouble {
        reason,
        hint: hint.map(ToOwned::to_owned),
        is_common,
    };
    Box::new(match error.is_permanent() {
        true => Verdict::Never(trouble),
        false => Verdict::Later(trouble),
    })
}

/// What is wrong with the certificate, if that is the cause.
fn certificate(error: &smtp::Error) -> Option<&CertificateError> {
    let mut source = error.source();
    while let Some(cause) = source {
        let inner = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        let tls = match inner {
            Some(inner) => inner.downcast_ref::<rustls::Error>(),
            None => cause.downcast_ref::<rustls::Error>(),
        };
        if let Some(rustls::Error::InvalidCertificate(problem)) = tls {
            return Some(problem);
        }
        source = cause.source();
    }
    None
}

fn sentence(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => "is from an authority that nobody here knows".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet (is the clock right?)".to_owned()
        }
        CertificateError::Revoked => "is revoked".to_owned(),
        other => format!("is not valid ({other})"),
    }
}

/// An error and its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}
