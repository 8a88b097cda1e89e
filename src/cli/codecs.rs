//! `switchhook codecs`: which codecs the PBX can transcode, and which it only passes through.
//!
//! It asks the running PBX and looks into no configuration: what a phone may use is said by `allow=` of its endpoint.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::RootArgs;
use super::output::{Exit, Output};
use crate::asterisk::codecs::{Codec, Translations, codecs};
use crate::asterisk::control::{self, CtlError};

#[derive(Debug, Args)]
pub struct CodecsArgs {
    /// Also measure what each costs; takes the PBX some seconds of one core
    #[arg(long)]
    measure: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    root: RootArgs,
}

const ANSWER: Duration = Duration::from_secs(5);
/// Each of some fifty steps works on a second of sound.
const MEASUREMENT: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Shown<'a> {
    codecs: &'a [Codec],
}

/// Exit code 0, 2 when the PBX does not answer.
pub fn run(args: &CodecsArgs) -> ExitCode {
    let out = Output::new(args.json);
    match ask(args) {
        Ok(Some(found)) if out.is_json() => {
            out.json(&Shown { codecs: &found });
            out.finish(Exit::Ok)
        }
        Ok(Some(found)) => {
            out.text(&table(&found, args.measure));
            out.finish(Exit::Ok)
        }
        Ok(None) => {
            out.problem(
                "the PBX shows no table of translations",
                Some("see what it answers: asterisk -rx 'core show translation'"),
            );
            out.finish(Exit::Failed)
        }
        Err(error) => {
            out.error(&error, Some("see whether it runs: switchhook status"));
            out.finish(Exit::Failed)
        }
    }
}

fn ask(args: &CodecsArgs) -> Result<Option<Vec<Codec>>, CtlError> {
    let socket = args.root.paths().asterisk_control();
    let listing = control::run(&socket, "core show codecs audio", ANSWER)?;
    let answer = control::run(&socket, "core show translation", ANSWER)?;
    let Some(paths) = Translations::parse(&answer) else {
        return Ok(None);
    };
    let measured = if args.measure {
        let answer = control::run(&socket, "core show translation comp 1", MEASUREMENT)?;
        Translations::parse(&answer)
    } else {
        None
    };
    Ok(Some(codecs(&listing, &paths, measured.as_ref())))
}

/// What is transcoded first, then the rest.
fn table(found: &[Codec], with_cost: bool) -> String {
    let width = found.iter().map(|codec| codec.name.len()).max();
    let width = width.unwrap_or(0).max("codec".len());
    let mut out = format!("{:width$}  {:11}", "codec", "transcoded");
    if with_cost {
        out.push_str("  decode us  encode us");
    }
    out.push_str("  description\n");
    let (transcoded, others): (Vec<&Codec>, Vec<&Codec>) = found
        .iter()
        .partition(|codec| codec.decodes || codec.encodes);
    for codec in transcoded.into_iter().chain(others) {
        let verdict = match (codec.decodes, codec.encodes) {
            (true, true) => "both ways",
            (true, false) => "decoded",
            (false, true) => "encoded",
            (false, false) => "passed on",
        };
        out.push_str(&format!("{:width$}  {verdict:11}", codec.name));
        if with_cost {
            let cost = |time: Option<u32>| time.map_or("-".to_owned(), |time| time.to_string());
            out.push_str(&format!(
                "  {:>9}  {:>9}",
                cost(codec.decode_us),
                cost(codec.encode_us)
            ));
        }
        out.push_str(&format!("  {}\n", codec.description));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(name: &str, decodes: bool, encodes: bool) -> Codec {
        Codec {
            name: name.to_owned(),
            description: format!("the codec {name}"),
            decodes,
            encodes,
            decode_us: decodes.then_some(361),
            encode_us: encodes.then_some(1854),
        }
    }

    #[test]
    fn the_table_begins_with_what_is_transcoded() {
        let found = [codec("g719", false, false), codec("g729", true, true)];
        insta::assert_snapshot!(table(&found, false), @r"
        codec  transcoded   description
        g729   both ways    the codec g729
        g719   passed on    the codec g719
        ");
        insta::assert_snapshot!(table(&found, true), @r"
        codec  transcoded   decode us  encode us  description
        g729   both ways          361       1854  the codec g729
        g719   passed on            -          -  the codec g719
        ");
    }
}
