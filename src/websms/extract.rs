//! From a request to what it says: messages, receipts, a test of the address, the confirmation of a subscription.
//!
//! A profile tells where everything stands (`Hearing::new`); an interface in the predecessor's manner knows three keys
//! (`keys`). What both hold a message to is in `check`.
//!
//! Pure. It refuses, with a status that makes a carrier try again or tell its user, what is no message: nothing is lost in
//! silence. A text is opened as a document only in a container field that is named, and never in the fields of the text or
//! of a number: who writes an SMS does not write our fields.
//!
//! Invariant: of a request with several messages all are taken or none.

use super::body::{self, Malformed, json};
use super::document::Document;
use super::message::{Heard, Part, Receipt, ReceiptState, Received};
use super::path::{Path, PathError};
use super::profile::{Condition, Decode, Format, Incoming, ReceiptRule};
use super::request::Request;

pub mod check;
pub mod decode;
pub mod keys;

/// More messages, or receipts, than one request brings.
const MOST_ITEMS: usize = 100;

/// A profile's way to read webhooks, with its paths read.
#[derive(Debug, Clone, PartialEq)]
pub struct Hearing {
    methods: Vec<String>,
    format: Format,
    unwrap: Vec<Path>,
    each: Option<Path>,
    message: Vec<When>,
    to: Vec<Path>,
    from: Vec<Path>,
    text: Vec<Path>,
    id: Vec<Path>,
    media: Vec<Path>,
    decode: Decode,
    part: Option<[Path; 3]>,
    echo: Option<String>,
    confirm: Option<Path>,
    receipt: Option<ReceiptHearing>,
}

#[derive(Debug, Clone, PartialEq)]
struct When {
    path: Path,
    values: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct ReceiptHearing {
    when: Vec<When>,
    id: Vec<Path>,
    state: Vec<Path>,
    detail: Vec<Path>,
    states: Vec<(String, ReceiptState)>,
}

/// What an item of a request is.
enum Item<'d> {
    Message(&'d Document),
    Receipt(&'d ReceiptHearing, &'d Document),
}

impl Hearing {
    /// Reads the profile's paths. All mistakes are told.
    pub fn new(
        incoming: &Incoming,
        receipt: Option<&ReceiptRule>,
    ) -> Result<Hearing, Vec<PathError>> {
        let mut reader = Reader::default();
        let hearing = Hearing {
            methods: match incoming.methods.is_empty() {
                true => vec!["POST".to_owned()],
                false => incoming.methods.clone(),
            },
            format: incoming.format,
            unwrap: reader.all(&incoming.unwrap),
            each: reader.maybe(incoming.each.as_deref()),
            message: reader.when(&incoming.when),
            to: reader.all(&incoming.to),
            from: reader.all(&incoming.from),
            text: reader.all(&incoming.text),
            id: reader.all(&incoming.id),
            media: reader.all(&incoming.media),
            decode: incoming.decode,
            part: incoming.part.as_ref().and_then(|part| {
                let paths = [&part.reference, &part.number, &part.total];
                let read = paths.map(|path| reader.maybe(Some(path)));
                let [reference, number, total] = read;
                Some([reference?, number?, total?])
            }),
            echo: incoming.echo.clone(),
            confirm: reader.maybe(incoming.confirm.as_deref()),
            receipt: receipt.map(|rule| ReceiptHearing {
                when: reader.when(&rule.when),
                id: reader.all(&rule.id),
                state: reader.all(&rule.state),
                detail: reader.all(&rule.detail),
                states: rule
                    .states
                    .iter()
                    .map(|(word, state)| (word.clone(), *state))
                    .collect(),
            }),
        };
        let plain = [&hearing.to, &hearing.from, &hearing.text];
        for path in &hearing.unwrap {
            if plain.iter().any(|paths| paths.contains(path)) {
                let what = "what holds a text or a number is never opened as a document";
                reader.mistakes.push(path.misplaced(what));
            }
        }
        match reader.mistakes.is_empty() {
            true => Ok(hearing),
            false => Err(reader.mistakes),
        }
    }

    /// What a request says.
    pub fn hear(&self, request: &Request<'_>) -> Result<Heard, Malformed> {
        if let Some(echo) = check::echo(self.echo.as_deref(), request)? {
            return Ok(Heard::Echo(echo));
        }
        if !self.methods.iter().any(|method| method == request.method) {
            return Err(check::no_method(request.method, &self.methods));
        }
        let mut document = body::read(self.format, request)?;
        if let Some(address) = self.confirm.as_ref().and_then(|path| path.first(&document)) {
            // The end of a subscription has the address, too: it would begin it again.
            let ends =
                document.get("Type").and_then(Document::text) == Some("UnsubscribeConfirmation");
            return match ends {
                true => Ok(Heard::Nothing),
                false => Ok(Heard::Confirm(check::address(address, "the confirmation")?)),
            };
        }
        for path in &self.unwrap {
            unwrap(path, &mut document)?;
        }
        let items = match &self.each {
            Some(each) => each.all(&document),
            None => vec![&document],
        };
        if items.len() > MOST_ITEMS {
            return Err(Malformed::new(format!(
                "the request has more than {MOST_ITEMS} messages"
            )));
        }
        let mut messages = Vec::new();
        let mut receipts = Vec::new();
        for item in items {
            match self.item(item) {
                Some(Item::Message(item)) => messages.push(self.received(item)?),
                Some(Item::Receipt(rule, item)) => receipts.extend(rule.receipt(item)?),
                None => {}
            }
        }
        Ok(match (messages.is_empty(), receipts.is_empty()) {
            (true, true) => Heard::Nothing,
            (false, true) => Heard::Messages(messages),
            (true, false) => Heard::Receipts(receipts),
            (false, false) => Heard::Both(messages, receipts),
        })
    }

    /// A condition that holds says what an item is. Without conditions its fields do.
    fn item<'d>(&'d self, item: &'d Document) -> Option<Item<'d>> {
        let message = holds(&self.message, item);
        let receipt = self
            .receipt
            .as_ref()
            .filter(|rule| holds(&rule.when, item))
            .filter(|rule| !rule.when.is_empty() || rule.is_there(item));
        match receipt {
            _ if message && !self.message.is_empty() => Some(Item::Message(item)),
            Some(rule) if !rule.when.is_empty() || !message || !self.has_text(item) => {
                Some(Item::Receipt(rule, item))
            }
            _ => message.then_some(Item::Message(item)),
        }
    }

    fn has_text(&self, item: &Document) -> bool {
        self.text.iter().any(|path| path.first(item).is_some())
    }

    fn received(&self, item: &Document) -> Result<Received, Malformed> {
        let mut media = Vec::new();
        for address in self.media.iter().flat_map(|path| path.all(item)) {
            if !matches!(address, Document::Null) && address.text() != Some("") {
                media.push(check::address(address, "a picture")?);
            }
        }
        if media.len() > check::MOST_MEDIA {
            return Err(Malformed::new(format!(
                "the message has more than {} pictures",
                check::MOST_MEDIA
            )));
        }
        let said: Vec<&Document> = self.text.iter().filter_map(|p| p.first(item)).collect();
        let text = match said
            .iter()
            .find(|value| value.text().is_some())
            .or(said.first())
        {
            // A carrier may keep text and pictures in one branch; without text there is a branch alone.
            Some(value) if value.text().is_some() || media.is_empty() => check::text(value)?,
            _ => String::new(),
        };
        Ok(Received {
            to: check::number(first_said(&self.to, item), "to whom it is")?,
            from: check::number(first_said(&self.from, item), "from whom it is")?,
            body: decode::text(self.decode, text)?,
            id: first_said(&self.id, item).map(check::id).transpose()?,
            media,
            part: match &self.part {
                Some(paths) => part(paths, item)?,
                None => None,
            },
        })
    }
}

impl ReceiptHearing {
    fn is_there(&self, item: &Document) -> bool {
        first_said(&self.id, item).is_some() && first_said(&self.state, item).is_some()
    }

    /// `None` for a state that says nothing.
    fn receipt(&self, item: &Document) -> Result<Option<Receipt>, Malformed> {
        let missing = |what| Malformed::new(format!("the receipt does not tell {what}"));
        let id = first_said(&self.id, item).ok_or_else(|| missing("of which message it is"))?;
        let word = first_said(&self.state, item)
            .and_then(Document::text)
            .ok_or_else(|| missing("the state"))?;
        let Some((_, state)) = self.states.iter().find(|(known, _)| known == word) else {
            return Ok(None);
        };
        let detail = first_said(&self.detail, item)
            .and_then(Document::text)
            .unwrap_or(word);
        Ok(Some(Receipt {
            id: check::id(id)?,
            state: *state,
            detail: check::detail(detail),
        }))
    }
}

#[derive(Default)]
struct Reader {
    mistakes: Vec<PathError>,
}

impl Reader {
    fn maybe(&mut self, path: Option<&str>) -> Option<Path> {
        match path?.parse() {
            Ok(path) => Some(path),
            Err(mistake) => {
                self.mistakes.push(mistake);
                None
            }
        }
    }

    fn all(&mut self, paths: &[String]) -> Vec<Path> {
        let read = |path: &String| self.maybe(Some(path));
        paths.iter().filter_map(read).collect()
    }

    fn when(&mut self, conditions: &[Condition]) -> Vec<When> {
        let read = |condition: &Condition| {
            Some(When {
                path: self.maybe(Some(&condition.path))?,
                values: condition.values.clone(),
            })
        };
        conditions.iter().filter_map(read).collect()
    }
}

fn holds(conditions: &[When], item: &Document) -> bool {
    conditions.iter().all(|condition| {
        let Some(value) = condition.path.first(item) else {
            return false;
        };
        let is = |wanted: &String| value.text() == Some(wanted);
        condition.values.is_empty() || condition.values.iter().any(is)
    })
}

/// The value of the first path that is there; what is null or empty is not.
fn first_said<'d>(paths: &[Path], item: &'d Document) -> Option<&'d Document> {
    paths
        .iter()
        .filter_map(|path| path.first(item))
        .find(|value| !matches!(value, Document::Null) && value.text() != Some(""))
}

/// Opens a text that holds JSON, in its place.
fn unwrap(path: &Path, document: &mut Document) -> Result<(), Malformed> {
    let Some(place) = path.place(document) else {
        return Ok(());
    };
    if let Document::Text(text) = place {
        *place = json::read(text.as_bytes())
            .map_err(|e| Malformed::new(format!("the field `{path}` holds no document: {e}")))?;
    }
    Ok(())
}

/// Which part of a long message; a message of one part is whole.
fn part(
    [reference, number, total]: &[Path; 3],
    item: &Document,
) -> Result<Option<Part>, Malformed> {
    let one = |path: &Path| {
        path.first(item)
            .filter(|v| v.text().is_some_and(|t| !t.is_empty()))
    };
    let (Some(reference), Some(number), Some(total)) = (one(reference), one(number), one(total))
    else {
        return Ok(None);
    };
    let count = |value: &Document| value.text().and_then(|text| text.parse::<u8>().ok());
    match (count(number), count(total)) {
        (Some(1), Some(1)) => Ok(None),
        (Some(number), Some(total)) if (1..=total).contains(&number) => Ok(Some(Part {
            reference: check::id(reference)?,
            number,
            total,
        })),
        _ => Err(Malformed::new(
            "the number of the message's part is not one of its parts",
        )),
    }
}

#[cfg(test)]
mod tests;
