//! The spool on a real disk.

use std::future::Future;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::websms::delivery::LegState;
use crate::websms::message::ReceiptState;

mod followers;

const NOW: Moment = 1_800_000_000_000;

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(work)
}

fn limits() -> Limits {
    Limits {
        // The tests look for old things themselves.
        tick: Duration::from_secs(3600),
        ..Limits::default()
    }
}

struct Place {
    directory: tempfile::TempDir,
    spool: Spool,
    handle: Option<Handle>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Place {
    fn new(limits: Limits) -> Place {
        let directory = tempfile::tempdir().unwrap();
        let said = Arc::default();
        let (spool, handle) = open(&directory.path().join(NAME), limits, &said).unwrap();
        Place {
            directory,
            spool,
            handle: Some(handle),
            said,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(NAME)
    }

    fn reopen(&mut self, limits: Limits) {
        self.handle.take().unwrap().close();
        let (spool, handle) = open(&self.path(), limits, &self.said).unwrap();
        (self.spool, self.handle) = (spool, Some(handle));
    }

    fn store(&self, new: New) -> Result<Stored, SpoolError> {
        run(self.spool.store(new))
    }

    fn message(&self, id: Id) -> Message {
        run(self.spool.read(move |reader| reader.get(id)))
            .unwrap()
            .unwrap()
    }
}

fn open(
    path: &Path,
    limits: Limits,
    said: &Arc<Mutex<Vec<String>>>,
) -> Result<(Spool, Handle), OpenError> {
    let said = Arc::clone(said);
    let tell = Box::new(move |line: &str| said.lock().unwrap().push(line.to_owned()));
    Spool::open(path, limits, tell)
}

fn incoming(provider_id: &str) -> New {
    New {
        direction: Direction::In,
        interface: "carrier".to_owned(),
        provider_id: Some(provider_id.to_owned()),
        key: None,
        from: "+46701234567".to_owned(),
        to: "+46707654321".to_owned(),
        body: "Hej!".to_owned(),
        media: vec![],
        received: NOW,
        part: None,
    }
}

fn outgoing() -> New {
    New {
        direction: Direction::Out,
        provider_id: None,
        ..incoming("")
    }
}

fn part(id: Option<&str>, number: u8, body: &str) -> New {
    New {
        provider_id: id.map(str::to_owned),
        body: body.to_owned(),
        part: Some(Part {
            reference: "7".to_owned(),
            number,
            total: 3,
        }),
        ..incoming("")
    }
}

#[test]
fn a_repeat_is_taken_and_stored_once_also_after_a_restart() {
    let mut place = Place::new(limits());
    let first = place.store(incoming("007")).unwrap();
    assert!(first.is_new && first.is_whole);
    let again = place.store(incoming("007")).unwrap();
    assert_eq!((again.id, again.is_new), (first.id, false));
    // Ids are text.
    assert!(place.store(incoming("7")).unwrap().is_new);
    // Another interface has ids of its own.
    let other = New {
        interface: "other".to_owned(),
        ..incoming("007")
    };
    assert!(place.store(other).unwrap().is_new);
    place.reopen(limits());
    assert!(!place.store(incoming("007")).unwrap().is_new);
    let message = place.message(first.id);
    assert_eq!(
        (message.body.as_str(), message.state),
        ("Hej!", State::Received)
    );
    assert_eq!(message.provider_id.as_deref(), Some("007"));
    let mode = std::fs::metadata(place.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn an_idempotency_key_names_one_message() {
    let place = Place::new(limits());
    let new = New {
        key: Some("order-1".to_owned()),
        ..outgoing()
    };
    let first = place.store(new.clone()).unwrap();
    let again = place.store(new).unwrap();
    assert_eq!((again.id, again.is_new), (first.id, false));
    assert!(place.store(outgoing()).unwrap().id > first.id);
}

#[test]
fn what_is_open_is_found_after_a_restart_with_who_has_had_it() {
    let mut place = Place::new(limits());
    let ids: Vec<Id> = (0..5)
        .map(|n| place.store(incoming(&n.to_string())).unwrap().id)
        .collect();
    let mut done = Transition::new(ids[1], State::Delivered, NOW + 1);
    done.detail = "200".to_owned();
    let leg = Leg {
        contact: "sip:a@192.0.2.1".to_owned(),
        state: LegState::Taken,
        tries: 1,
        tried: None,
        there: false,
    };
    let mut held = Transition::new(ids[2], State::Held, NOW + 1);
    held.next = Some(NOW + 60_000);
    held.legs = vec![leg.clone()];
    held.endpoint = Some("alice".to_owned());
    run(place.spool.record(vec![done, held])).unwrap();
    place.reopen(limits());
    let read = run(place.spool.read(|reader| reader.unfinished(None, 100))).unwrap();
    let found: Vec<Id> = read.iter().map(|message| message.id).collect();
    assert_eq!(found, [ids[0], ids[2], ids[3], ids[4]]);
    assert_eq!(read[1].endpoint.as_deref(), Some("alice"));
    let held = ids[2];
    let legs = run(place.spool.read(move |reader| reader.legs(held))).unwrap();
    assert_eq!(legs, [leg]);
    let due = run(place.spool.read(|reader| reader.due(NOW, 100))).unwrap();
    assert_eq!(due.len(), 3);
    let done = ids[1];
    let history = run(place.spool.read(move |reader| reader.history(done))).unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(
        (history[0].what.as_str(), history[0].detail.as_str()),
        ("delivered", "200")
    );
    let counts = run(place.spool.read(Reader::counts)).unwrap();
    assert_eq!((counts.waiting_in, counts.waiting_out), (4, 0));
}

#[test]
fn changes_of_which_one_is_unknown_are_not_made() {
    let place = Place::new(limits());
    let known = place.store(incoming("1")).unwrap().id;
    let unknown = Id::first_of(NOW + DAY);
    let changes = [known, unknown].map(|id| Transition::new(id, State::Delivered, NOW));
    let refused = run(place.spool.record(changes.to_vec()));
    assert_eq!(refused, Err(SpoolError::Unknown(unknown)));
    assert_eq!(place.message(known).state, State::Received);
}

#[test]
fn a_page_goes_on_where_the_last_one_ended() {
    let place = Place::new(limits());
    let ids: Vec<Id> = (0..10)
        .map(|n| {
            let to = if n % 2 == 0 { "+1" } else { "+2" };
            let new = New {
                to: to.to_owned(),
                received: NOW + n,
                ..incoming(&n.to_string())
            };
            place.store(new).unwrap().id
        })
        .collect();
    let mut filter = Filter {
        number: Some("+1".to_owned()),
        limit: 3,
        ..Filter::default()
    };
    let mut found = vec![];
    loop {
        let page = filter.clone();
        let page = run(place.spool.read(move |reader| reader.list(&page))).unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id);
        found.extend(page.iter().map(|message| message.id));
    }
    assert_eq!(found, [ids[8], ids[6], ids[4], ids[2], ids[0]]);
}

fn receipt(id: &str, state: ReceiptState) -> Receipt {
    Receipt {
        id: id.to_owned(),
        state,
        detail: "DELIVRD".to_owned(),
    }
}

#[test]
fn a_receipt_that_comes_before_the_carriers_id_is_not_lost() {
    let mut place = Place::new(limits());
    let id = place.store(outgoing()).unwrap().id;
    let early = receipt("0042", ReceiptState::Delivered);
    let known = run(place.spool.receipt("carrier".to_owned(), early, NOW));
    assert_eq!(known, Ok(None));
    // Neither is it by a restart.
    place.reopen(limits());
    let mut accepted = Transition::new(id, State::Accepted, NOW + 5);
    accepted.provider_id = Some("0042".to_owned());
    let states = run(place.spool.record(vec![accepted]));
    assert_eq!(states, Ok(vec![State::Delivered]));
    assert_eq!(place.message(id).state, State::Delivered);
    let late = receipt("0042", ReceiptState::Sent);
    let known = run(place.spool.receipt("carrier".to_owned(), late, NOW + 6));
    assert_eq!(known, Ok(Some((id, State::Delivered))));
}

#[test]
fn parts_become_one_message_when_all_are_there_in_whatever_order() {
    let place = Place::new(limits());
    let first = place.store(part(Some("c"), 3, "three")).unwrap();
    assert!(first.is_new && !first.is_whole);
    place.store(part(Some("a"), 1, "one ")).unwrap();
    let again = place.store(part(Some("a"), 1, "one ")).unwrap();
    assert!(!again.is_new);
    let last = place.store(part(Some("b"), 2, "two ")).unwrap();
    assert!(last.is_whole && last.id == first.id);
    assert_eq!(place.message(first.id).body, "one two three");
    // Repeats of a message that is whole.
    let again = place.store(part(Some("b"), 2, "two ")).unwrap();
    assert!(!again.is_new && again.is_whole);
    // The reference comes again for another message.
    let next = place.store(part(Some("d"), 1, "new ")).unwrap();
    assert!(next.is_new && next.id != first.id);
}

#[test]
fn parts_without_ids_are_known_by_their_text() {
    let place = Place::new(limits());
    for (number, body) in [(1, "a"), (2, "b"), (1, "a"), (3, "c"), (2, "b")] {
        place.store(part(None, number, body)).unwrap();
    }
    let all = Filter {
        limit: 10,
        ..Filter::default()
    };
    let all = run(place.spool.read(move |reader| reader.list(&all))).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].body, "abc");
}

#[test]
fn what_stays_incomplete_is_delivered_as_it_is() {
    let place = Place::new(limits());
    let id = place.store(part(Some("a"), 1, "one ")).unwrap().id;
    place.store(part(Some("c"), 3, "three")).unwrap();
    let later = NOW + limits().parts;
    run(place.spool.tend(later - 1)).unwrap();
    assert_eq!(run(place.spool.read(move |r| r.get(id))).unwrap(), None);
    run(place.spool.tend(later)).unwrap();
    assert_eq!(place.message(id).body, "one three");
    run(place.spool.news());
}

#[test]
fn messages_at_rest_are_erased_when_their_time_is_over_and_open_ones_never() {
    let mut place = Place::new(limits());
    let done: Vec<Id> = (0..450)
        .map(|n| place.store(incoming(&n.to_string())).unwrap().id)
        .collect();
    let open = place.store(incoming("open")).unwrap().id;
    let changes = done
        .iter()
        .map(|id| Transition::new(*id, State::Delivered, NOW));
    run(place.spool.record(changes.collect())).unwrap();
    run(place.spool.tend(NOW + 89 * DAY)).unwrap();
    assert_eq!(place.message(done[0]).state, State::Delivered);
    let mut steps = 1;
    while run(place.spool.tend(NOW + 91 * DAY)).unwrap() {
        steps += 1;
    }
    assert!(steps > 2, "small steps: {steps}");
    place.reopen(limits());
    let left = Filter {
        limit: 1000,
        ..Filter::default()
    };
    let left = run(place.spool.read(move |reader| reader.list(&left))).unwrap();
    assert_eq!(left.iter().map(|m| m.id).collect::<Vec<_>>(), [open]);
}

#[test]
fn a_history_of_a_day_still_knows_three_days_of_ids() {
    let place = Place::new(Limits {
        history: DAY,
        ..limits()
    });
    let id = place.store(incoming("1")).unwrap().id;
    let change = Transition::new(id, State::Delivered, NOW);
    run(place.spool.record(vec![change])).unwrap();
    run(place.spool.tend(NOW + 2 * DAY)).unwrap();
    assert!(!place.store(incoming("1")).unwrap().is_new);
}

#[test]
fn a_spool_that_redacts_keeps_no_text_of_what_is_delivered() {
    let place = Place::new(Limits {
        redact: true,
        ..limits()
    });
    let [delivered, dead] = ["1", "2"].map(|n| place.store(incoming(n)).unwrap().id);
    let changes = vec![
        Transition::new(delivered, State::Delivered, NOW),
        Transition::new(dead, State::Rejected, NOW),
    ];
    run(place.spool.record(changes)).unwrap();
    assert_eq!(place.message(delivered).body, "");
    // It may be wanted for another try.
    assert_eq!(place.message(dead).body, "Hej!");
    run(place.spool.tend(NOW + 4 * DAY)).unwrap();
    assert_eq!(place.message(dead).body, "");
}

#[test]
fn more_than_so_many_do_not_wait_but_repeats_are_still_known() {
    let mut place = Place::new(Limits {
        waiting: 2,
        ..limits()
    });
    let first = place.store(incoming("1")).unwrap().id;
    place.store(incoming("2")).unwrap();
    let full = SpoolError::Full { waiting: 2 };
    assert_eq!(place.store(incoming("3")), Err(full.clone()));
    assert_eq!(place.store(part(None, 1, "a")), Err(full.clone()));
    assert!(!place.store(incoming("1")).unwrap().is_new);
    place.reopen(Limits {
        waiting: 2,
        ..limits()
    });
    assert_eq!(place.store(incoming("3")), Err(full));
    let change = Transition::new(first, State::Delivered, NOW);
    run(place.spool.record(vec![change])).unwrap();
    assert!(place.store(incoming("3")).unwrap().is_new);
}

#[test]
fn requests_are_kept_without_their_query_and_only_the_last_of_them() {
    let mut place = Place::new(Limits {
        requests: 3,
        ..limits()
    });
    for n in 0..5 {
        place.spool.request(Request {
            at: NOW + n,
            interface: None,
            peer: "192.0.2.7".to_owned(),
            method: "POST".to_owned(),
            path: "/hook?token=secret".to_owned(),
            status: 403,
            reason: "no interface has this path".to_owned(),
        });
    }
    place.reopen(limits());
    let kept = run(place.spool.read(|reader| reader.requests(10))).unwrap();
    let times: Vec<_> = kept.iter().map(|request| request.at - NOW).collect();
    assert_eq!(times, [4, 3, 2]);
    assert_eq!(kept[0].path, "/hook");
}

#[test]
fn a_shorter_history_counts_at_once_for_messages_and_for_requests() {
    let mut place = Place::new(limits());
    let [old, open] = ["1", "2"].map(|n| place.store(incoming(n)).unwrap().id);
    let change = Transition::new(old, State::Delivered, NOW);
    run(place.spool.record(vec![change])).unwrap();
    place.spool.request(Request {
        at: NOW,
        interface: None,
        peer: "192.0.2.7".to_owned(),
        method: "POST".to_owned(),
        path: "/hook".to_owned(),
        status: 200,
        reason: "a message".to_owned(),
    });
    run(place.spool.tend(NOW + 5 * DAY)).unwrap();
    place.reopen(limits());
    let requests = |place: &Place| run(place.spool.read(|r| r.requests(10))).unwrap().len();
    assert_eq!(requests(&place), 1);
    run(place.spool.keep(4 * DAY, false)).unwrap();
    run(place.spool.tend(NOW + 5 * DAY)).unwrap();
    assert_eq!(run(place.spool.read(move |r| r.get(old))).unwrap(), None);
    assert_eq!(place.message(open).body, "Hej!");
    assert_eq!(requests(&place), 0);
    // And texts, once they are not to be kept.
    let change = Transition::new(open, State::Rejected, NOW);
    run(place.spool.record(vec![change])).unwrap();
    run(place.spool.keep(90 * DAY, true)).unwrap();
    run(place.spool.tend(NOW + 5 * DAY)).unwrap();
    assert_eq!(place.message(open).body, "");
}

#[test]
fn a_number_is_erased_with_its_parts_its_history_and_its_place_among_those_that_wait() {
    let place = Place::new(Limits {
        waiting: 2,
        ..limits()
    });
    place.store(incoming("1")).unwrap();
    place.store(part(None, 1, "a")).unwrap();
    let other = New {
        from: "+1".to_owned(),
        to: "+2".to_owned(),
        ..incoming("3")
    };
    let other = place.store(other).unwrap().id;
    let names = vec!["+46701234567".to_owned(), "46701234567".to_owned()];
    assert_eq!(run(place.spool.erase(names.clone())), Ok(1));
    assert_eq!(run(place.spool.erase(names)), Ok(0));
    assert_eq!(place.message(other).body, "Hej!");
    let counts = run(place.spool.read(Reader::counts)).unwrap();
    assert_eq!(counts.waiting_in, 1);
    // There is room again.
    assert!(place.store(incoming("4")).unwrap().is_new);
    run(place.spool.tend(NOW + DAY)).unwrap();
    let counts = run(place.spool.read(Reader::counts)).unwrap();
    assert_eq!(
        counts.waiting_in, 2,
        "no part is left that would become a message"
    );
}

#[test]
fn media_are_in_the_books_as_long_as_their_message() {
    let mut place = Place::new(Limits {
        redact: true,
        ..limits()
    });
    let with = |id: &str| New {
        media: vec!["https://carrier.example/1".to_owned(); 12],
        ..incoming(id)
    };
    let [done, open] = ["1", "2"].map(|n| place.store(with(n)).unwrap().id);
    let due = run(place.spool.read(|r| r.media_due(NOW, 100))).unwrap();
    // More than ten stay with the carrier.
    assert_eq!(due.len(), 20);
    let mut kept = due[0].media.clone();
    (kept.state, kept.bytes) = (MediaState::Stored, 100);
    kept.token = Some("t".to_owned());
    let stored = |media: Media, id| MediaChange {
        id,
        at: NOW,
        next: None,
        media,
    };
    run(place.spool.record_media(stored(kept.clone(), done))).unwrap();
    // A try that failed waits for its time.
    let mut again = due[1].media.clone();
    again.tries = 1;
    let later = MediaChange {
        next: Some(NOW + 5),
        ..stored(again, done)
    };
    run(place.spool.record_media(later)).unwrap();
    assert_eq!(
        run(place.spool.read(|r| r.media_due(NOW, 100)))
            .unwrap()
            .len(),
        18
    );
    let (of, _) = run(place.spool.read(|r| r.media_of_token("t")))
        .unwrap()
        .unwrap();
    assert_eq!(of, done);
    assert_eq!(run(place.spool.read(Reader::media_bytes)), Ok(100));

    // What is delivered is not waited for, and keeps its files for a while: a phone has the link.
    let change = Transition::new(done, State::Delivered, NOW);
    run(place.spool.record(vec![change])).unwrap();
    assert_eq!(
        run(place.spool.read(|r| r.media_due(NOW + DAY, 100)))
            .unwrap()
            .len(),
        10
    );
    let media = run(place.spool.read(move |r| r.media(done))).unwrap();
    assert_eq!(
        (media[0].source.as_str(), media[0].token.as_deref()),
        ("", Some("t"))
    );
    run(place.spool.tend(NOW + 2 * DAY)).unwrap();
    assert_eq!(run(place.spool.read(move |r| r.has_files(done))), Ok(true));
    run(place.spool.tend(NOW + 4 * DAY)).unwrap();
    assert_eq!(run(place.spool.read(move |r| r.has_files(done))), Ok(false));
    // A message that waits loses nothing.
    assert_eq!(run(place.spool.read(move |r| r.has_files(open))), Ok(true));

    // And without redaction they go with their message.
    place.reopen(limits());
    let other = place.store(with("3")).unwrap().id;
    run(place.spool.record_media(stored(kept, other))).unwrap();
    let change = Transition::new(other, State::Delivered, NOW);
    run(place.spool.record(vec![change])).unwrap();
    run(place.spool.tend(NOW + 89 * DAY)).unwrap();
    assert_eq!(run(place.spool.read(move |r| r.has_files(other))), Ok(true));
    run(place.spool.tend(NOW + 91 * DAY)).unwrap();
    assert_eq!(
        run(place.spool.read(move |r| r.has_files(other))),
        Ok(false)
    );
    assert_eq!(run(place.spool.read(Reader::media_bytes)), Ok(0));
}

#[test]
fn a_spool_of_the_second_schema_gets_its_books_of_media() {
    let mut place = Place::new(limits());
    let id = place.store(incoming("1")).unwrap().id;
    place.handle.take().unwrap().close();
    let old = rusqlite::Connection::open(place.path()).unwrap();
    old.execute_batch("DROP TABLE media; PRAGMA user_version = 2;")
        .unwrap();
    drop(old);
    let (spool, handle) = open(&place.path(), limits(), &place.said).unwrap();
    (place.spool, place.handle) = (spool, Some(handle));
    assert_eq!(place.message(id).body, "Hej!");
    assert_eq!(run(place.spool.read(move |r| r.media(id))), Ok(vec![]));
}

#[test]
fn a_test_is_kept_and_goes_to_nobody() {
    let place = Place::new(limits());
    let test = run(place.spool.store_test(incoming("t"))).unwrap();
    assert!(test.is_new);
    assert_eq!(place.message(test.id).state, State::Cancelled);
    let counts = run(place.spool.read(Reader::counts)).unwrap();
    assert_eq!(counts.waiting_in, 0);
    assert!(!run(place.spool.store_test(incoming("t"))).unwrap().is_new);
}

#[test]
fn a_spool_of_a_newer_version_is_left_alone() {
    let mut place = Place::new(limits());
    place.handle.take().unwrap().close();
    let newer = rusqlite::Connection::open(place.path()).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let refused = open(&place.path(), limits(), &place.said).unwrap_err();
    assert!(refused.to_string().contains("schema 99"), "{refused}");
    assert!(place.said.lock().unwrap().is_empty());
}

#[test]
fn a_damaged_spool_is_set_aside_and_nothing_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    std::fs::write(&path, vec![b'x'; 100_000]).unwrap();
    let said = Arc::default();
    let (spool, handle) = open(&path, limits(), &said).unwrap();
    assert!(run(spool.store(incoming("1"))).unwrap().is_new);
    handle.close();
    let lines = said.lock().unwrap();
    assert!(lines[0].contains("damaged"), "{lines:?}");
    let aside = std::fs::read_dir(directory.path()).unwrap();
    let aside = aside.filter_map(Result::ok).find(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("spool.db.damaged-")
    });
    assert_eq!(
        std::fs::read(aside.unwrap().path()).unwrap(),
        vec![b'x'; 100_000]
    );
}

#[test]
fn damage_under_way_is_noticed_and_the_next_message_is_stored() {
    let mut place = Place::new(limits());
    for n in 0..500 {
        place.store(incoming(&n.to_string())).unwrap();
    }
    place.handle.take().unwrap().close();
    // All but the page with the schema.
    let mut bytes = std::fs::read(place.path()).unwrap();
    bytes[4096..].fill(0xaa);
    std::fs::write(place.path(), bytes).unwrap();
    let (spool, handle) = open(&place.path(), limits(), &place.said).unwrap();
    assert!(run(spool.store(incoming("1"))).unwrap().is_new);
    assert!(run(spool.store(incoming("2"))).unwrap().is_new);
    assert!(place.said.lock().unwrap()[0].contains("damaged"));
    handle.close();
}

#[test]
fn who_asks_a_closed_spool_is_told() {
    let mut place = Place::new(limits());
    place.handle.take().unwrap().close();
    assert_eq!(place.store(incoming("1")), Err(SpoolError::Closed));
}
