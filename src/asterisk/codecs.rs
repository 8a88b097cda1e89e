//! What the PBX says of its codecs: which it knows, and between which it translates.
//!
//! Pure. It reads two answers of Asterisk's console, `core show codecs audio` and `core show translation` (main/codec.c and
//! main/translate.c; checked against 22.10.1), and asks nothing itself. It looks for no module: a codec that is built in is as
//! good as one that is loaded. Invariant: a codec is transcoded in a direction only if Asterisk shows a path to or from signed
//! linear of its rate or of another.

use std::collections::BTreeMap;

use serde::Serialize;

/// One audio codec that the PBX knows by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Codec {
    /// The name that `allow=` takes.
    pub name: String,
    pub description: String,
    /// The PBX can hear it: there is a path to signed linear.
    pub decodes: bool,
    /// The PBX can speak it: there is a path from signed linear.
    pub encodes: bool,
    /// Microseconds of one core for one second of sound, where it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_us: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode_us: Option<u32>,
}

/// The table of `core show translation`: from a row's format to a column's, with its cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translations {
    paths: BTreeMap<(String, String), u32>,
}

impl Translations {
    /// Reads the table; lines around it are passed over. `None` where no table is.
    #[must_use]
    pub fn parse(answer: &str) -> Option<Translations> {
        let mut lines = answer.lines();
        let columns: Vec<&str> = lines
            .by_ref()
            .skip_while(|line| !line.contains("(Columns)"))
            .skip(1)
            .find(|line| !line.trim().is_empty())?
            .split_whitespace()
            .collect();
        let mut paths = BTreeMap::new();
        for line in lines {
            let mut words = line.split_whitespace();
            let Some(from) = words.next() else { continue };
            let cells: Vec<&str> = words.collect();
            if cells.len() != columns.len() {
                continue;
            }
            for (to, cell) in columns.iter().zip(cells) {
                if let Ok(cost) = cell.parse() {
                    paths.insert((from.to_owned(), (*to).to_owned()), cost);
                }
            }
        }
        Some(Translations { paths })
    }

    /// The least cost to signed linear of any rate.
    fn to_linear(&self, name: &str) -> Option<u32> {
        let paths = self.paths.iter();
        paths
            .filter(|((from, to), _)| from == name && is_linear(to))
            .map(|(_, cost)| *cost)
            .min()
    }

    /// The least cost from signed linear of any rate.
    fn out_of_linear(&self, name: &str) -> Option<u32> {
        let paths = self.paths.iter();
        paths
            .filter(|((from, to), _)| to == name && is_linear(from))
            .map(|(_, cost)| *cost)
            .min()
    }
}

/// The codecs of `core show codecs audio` with what the table says of them, by name; signed linear itself and the codec of
/// nothing are left out. The second table, where there is one, holds measured times of single steps.
#[must_use]
pub fn codecs(listing: &str, table: &Translations, measured: Option<&Translations>) -> Vec<Codec> {
    let mut found: Vec<Codec> = listing.lines().filter_map(named).collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found.dedup_by(|one, other| one.name == other.name);
    for codec in &mut found {
        let name = in_table(&codec.name);
        codec.decodes = table.to_linear(name).is_some();
        codec.encodes = table.out_of_linear(name).is_some();
        if let Some(measured) = measured {
            codec.decode_us = measured.to_linear(name);
            codec.encode_us = measured.out_of_linear(name);
        }
    }
    found
}

/// A line such as `      21 audio g729         g729                  45 (G.729A)`.
fn named(line: &str) -> Option<Codec> {
    let mut words = line.split_whitespace();
    words.next()?.parse::<u32>().ok()?;
    if words.next() != Some("audio") {
        return None;
    }
    let (codec, name) = (words.next()?, words.next()?);
    if codec == "slin" || codec == "none" {
        return None;
    }
    let description = line.split_once('(').map_or("", |(_, rest)| rest.trim_end());
    Some(Codec {
        name: name.to_owned(),
        description: description
            .strip_suffix(')')
            .unwrap_or(description)
            .to_owned(),
        decodes: false,
        encodes: false,
        decode_us: None,
        encode_us: None,
    })
}

/// A codec of several rates bears its rate in the table, also where `allow=` does not want it.
fn in_table(name: &str) -> &str {
    if name == "speex" { "speex8" } else { name }
}

fn is_linear(name: &str) -> bool {
    name.strip_prefix("slin")
        .is_some_and(|rate| rate.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
Disclaimer: this command is for informational purposes only.
\tIt does not indicate anything about your configuration.
      ID TYPE  NAME         FORMAT           QUALITY DESCRIPTION
------------------------------------------------------------------------------------------------
      22 audio speex        speex                 40 (SpeeX)
      27 audio siren7       siren7                85 (ITU G.722.1 (Siren7, licensed from Polycom))
      21 audio g729         g729                  45 (G.729A)
      11 audio slin         slin                 115 (16 bit Signed Linear PCM)
      44 audio none         none                   0 (<Null> codec)
       5 audio ulaw         ulaw                 100 (G.711 u-law)
      60 video h264         h264                   0 (H.264 video)
";
    const TABLE: &str =
        "         Translation times between formats (in microseconds) for one second of data
          Source Format (Rows) Destination Format (Columns)

         ulaw slin8 slin16  g729 speex8
    ulaw     -  9000  17000     -  15000
   slin8  6000     -   8000     -   6000
  slin16 14500  8500      -     -  14500
    g729     -  9000  17000     -      -
  speex8 15000  9000  17000     -      -
";

    #[test]
    fn what_is_decoded_and_what_is_encoded_is_told_apart() {
        let table = Translations::parse(TABLE).unwrap();
        let found = codecs(LISTING, &table, None);
        let told: Vec<_> = found
            .iter()
            .map(|codec| (codec.name.as_str(), codec.decodes, codec.encodes))
            .collect();
        assert_eq!(
            told,
            [
                ("g729", true, false),
                ("siren7", false, false),
                ("speex", true, true),
                ("ulaw", true, true)
            ]
        );
        assert_eq!(
            found[1].description,
            "ITU G.722.1 (Siren7, licensed from Polycom)"
        );
    }

    #[test]
    fn measured_times_are_those_of_the_cheapest_step() {
        let table = Translations::parse(TABLE).unwrap();
        let found = codecs(LISTING, &table, Some(&table));
        let ulaw = found.iter().find(|codec| codec.name == "ulaw").unwrap();
        assert_eq!((ulaw.decode_us, ulaw.encode_us), (Some(9000), Some(6000)));
    }

    #[test]
    fn an_answer_without_a_table_is_none() {
        assert_eq!(Translations::parse(""), None);
        assert_eq!(
            Translations::parse("No such command 'core show translation'"),
            None
        );
    }
}
