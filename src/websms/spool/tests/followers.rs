//! Keys, the journal and its followers.

use super::*;

fn keyed(key: &str, body: &str) -> New {
    New {
        direction: Direction::Out,
        provider_id: None,
        key: Some(key.to_owned()),
        body: body.to_owned(),
        ..incoming("1")
    }
}

#[test]
fn a_key_stands_for_one_message_until_its_text_is_erased() {
    let place = Place::new(Limits {
        redact: true,
        ..limits()
    });
    let submit = |key: &str, body: &str| run(place.spool.submit(keyed(key, body), body.to_owned()));
    let first = submit("k", "a").unwrap();
    assert!(first.is_new);
    let again = submit("k", "a").unwrap();
    assert_eq!((again.id, again.is_new), (first.id, false));
    assert_eq!(submit("k", "b"), Err(SpoolError::KeyUsed));
    assert!(submit("l", "b").unwrap().is_new);
    let found =
        |print: &'static str| run(place.spool.read(move |reader| reader.of_key("k", print)));
    assert_eq!(found("a").unwrap(), Some((first.id, true)));
    assert_eq!(found("b").unwrap(), Some((first.id, false)));
    // With its text the print of it goes, too.
    let delivered = Transition::new(first.id, State::Cancelled, NOW);
    run(place.spool.record(vec![delivered])).unwrap();
    assert_eq!(place.message(first.id).body, "");
    assert_eq!(submit("k", "b").unwrap().id, first.id);
}

#[test]
fn the_journal_has_one_order_and_is_kept_for_followers_only() {
    let mut place = Place::new(limits());
    let unheard = place.store(incoming("0")).unwrap();
    place.spool.keep_journal(true);
    let mut ends = place.spool.journal();
    let first = place.store(incoming("1")).unwrap();
    let second = place.store(incoming("2")).unwrap();
    assert!(ends.has_changed().unwrap());
    let mut change = Transition::new(first.id, State::Delivered, NOW - 1000);
    change.detail = "200".to_owned();
    run(place.spool.record(vec![change])).unwrap();
    let journal = |place: &Place, after| {
        run(place.spool.read(move |reader| reader.journal(after, 10))).unwrap()
    };
    let all = journal(&place, Id::of_number(0));
    let told: Vec<(Id, State)> = all.iter().map(|line| (line.message, line.state)).collect();
    assert_eq!(
        told,
        [
            (first.id, State::Received),
            (second.id, State::Received),
            (first.id, State::Delivered)
        ]
    );
    assert!(all.is_sorted_by(|a, b| a.number < b.number), "{all:?}");
    assert_eq!(*ends.borrow_and_update(), all[2].number);
    assert_eq!(journal(&place, all[1].number).len(), 1);
    // A hook's place outlasts the journal, and numbers go on behind both.
    let mark = Mark {
        name: "crm".to_owned(),
        address: "x".to_owned(),
        position: Id::first_of(NOW + DAY),
        gone: false,
    };
    run(place.spool.mark(mark.clone())).unwrap();
    place.reopen(limits());
    place.spool.keep_journal(true);
    let known = run(place.spool.read(|reader| reader.hook("crm"))).unwrap();
    assert_eq!(known, Some(mark.clone()));
    place.store(incoming("3")).unwrap();
    let last = journal(&place, mark.position);
    assert_eq!(last.len(), 1);
    // What is old goes, and what is new stays.
    run(place.spool.tend(NOW + SHORTEST_HISTORY + 1)).unwrap();
    assert_eq!(journal(&place, Id::of_number(0)), last);
    assert!(place.message(unheard.id).id == unheard.id);
}

#[test]
fn a_spool_of_the_first_schema_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    schema::make_first(&path);
    let (spool, handle) = open(&path, limits(), &Arc::default()).unwrap();
    let stored = run(spool.submit(keyed("k", "a"), "a".to_owned())).unwrap();
    assert!(stored.is_new);
    let old = run(spool.read(|reader| {
        reader.list(&Filter {
            limit: 10,
            ..Filter::default()
        })
    }));
    assert_eq!(old.unwrap().len(), 2);
    handle.close();
}

#[test]
fn a_list_shows_what_is_of_a_number_however_it_is_written() {
    let place = Place::new(limits());
    let from = |id: &str, from: &str, to: &str| New {
        from: from.to_owned(),
        to: to.to_owned(),
        ..incoming(id)
    };
    place.store(from("1", "+461", "46700000001")).unwrap();
    place.store(from("2", "+46700000001", "+462")).unwrap();
    place.store(from("3", "+461", "+462")).unwrap();
    let count = |scope: Option<&str>, number: Option<&str>| {
        let filter = Filter {
            scope: scope.map(crate::websms::api::access::spellings),
            spellings: number.map(crate::websms::api::access::spellings),
            limit: 10,
            ..Filter::default()
        };
        run(place.spool.read(move |reader| reader.list(&filter)))
            .unwrap()
            .len()
    };
    assert_eq!(count(Some("+46700000001"), None), 2);
    assert_eq!(count(None, Some("0046700000001")), 2);
    assert_eq!(count(Some("+46700000001"), Some("+462")), 1);
    assert_eq!(count(Some("+461"), Some("+46700000001")), 1);
    assert_eq!(count(Some("1' OR 1"), None), 0);
}
