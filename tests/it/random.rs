//! Random lives of several services under the real PID 1, against a small model that predicts where each must come
//! to rest; after each round the real process tree is looked at.
//!
//! `RANDOM_ROUNDS` (1000) says how many rounds, `RANDOM_SEED` repeats a run; a failure prints the seed. The model knows
//! nothing of `init::service`: it is written from docs/reference, as somebody would who only reads that.

mod model;
mod world;

use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::appliance::Root;
use model::{End, Model, Operation, PLANS};
use world::{World, lay_out, start};

/// Numbers for a test that can be repeated.
struct Dice(TestRng);

impl Dice {
    fn new(seed: u64) -> Dice {
        let mut bytes = [0u8; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Dice(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    fn below(&mut self, bound: usize) -> usize {
        let number = self.0.next_u32();
        usize::try_from(number).unwrap() % bound
    }

    fn operation(&mut self) -> Operation {
        let ends = [
            End::Code(0),
            End::Code(1),
            End::Code(3),
            End::Code(78),
            End::Signal(Signal::SIGSEGV),
            End::Signal(Signal::SIGKILL),
            End::Signal(Signal::SIGKILL),
        ];
        match self.below(20) {
            0 | 1 => Operation::Start,
            2 | 3 => Operation::Stop,
            4 | 5 => Operation::Restart,
            6 => Operation::Kill,
            7 => Operation::Once,
            8 => Operation::Reload,
            9 => Operation::Usr1,
            10 => Operation::Burst(2 + self.below(4)),
            11 => Operation::EndsAndStop,
            12 => Operation::EndsAndRestart,
            13 => Operation::StopAndStart,
            // Seldom: a signal between fork and exec is heard at its repetition only, half a second later.
            14 if self.below(4) == 0 => Operation::StartAndStop,
            _ => Operation::Ends(ends[self.below(ends.len())]),
        }
    }
}

/// Operations on the whole appliance, after which every pid and counter is as before: `reexec`, where the connection
/// that orders it goes through too, and a reload of definitions in which nothing differs. Returns whether it did one.
fn whole_appliance(dice: &mut Dice, world: &mut World<'_>, _model: &mut Model) -> bool {
    let (order, result) = match dice.below(24) {
        0 => (json!({"command": "reexec", "program": null}), "done"),
        1 => (
            json!({"command": "reload_definitions", "dry_run": false}),
            "definitions",
        ),
        _ => return false,
    };
    let reply = world.control.ask(&order);
    assert_eq!(reply["result"], result, "{order}: {reply}");
    true
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect(name))
}

#[test]
fn a_thousand_random_rounds_end_where_the_model_says() {
    let rounds = number("RANDOM_ROUNDS").unwrap_or(1000);
    let seed = number("RANDOM_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::try_from(now.as_micros()).unwrap()
    });
    println!("RANDOM_SEED={seed} RANDOM_ROUNDS={rounds}");
    let mut dice = Dice::new(seed);
    let root = Root::bare();
    let mark = format!("86400.{}", std::process::id());
    let orders = lay_out(&root, &mark);
    let mut it = root.start();
    let mut world = start(&root, &mut it, mark, orders);
    let mut model = Model::new();
    let story = |text: String| format!("RANDOM_SEED={seed}: {text}");
    world.converges(&mut model, &story("the start".to_owned()));
    for round in 0..rounds {
        if whole_appliance(&mut dice, &mut world, &mut model) {
            world.converges(
                &mut model,
                &story(format!("round {round}, the whole appliance")),
            );
            continue;
        }
        // One service, or several at once that do not wait for each other.
        let many = if dice.below(4) == 0 { 3 } else { 1 };
        let mut done: Vec<(&str, Operation)> = Vec::new();
        let mut touched: Vec<usize> = Vec::new();
        while touched.len() < many {
            let (index, operation) = (dice.below(PLANS.len()), dice.operation());
            let is_near = |other: &usize| {
                *other == index
                    || PLANS[index].after.contains(other)
                    || PLANS[*other].after.contains(&index)
            };
            if !model.allows(index, operation) {
                continue;
            }
            if touched.iter().any(is_near) {
                // Its neighbour was touched already: enough for this round.
                break;
            }
            world.carry_out(index, operation, &model);
            model.apply(index, operation);
            touched.push(index);
            done.push((PLANS[index].name, operation));
        }
        model.settle();
        world.converges(&mut model, &story(format!("round {round}, {done:?}")));
    }
    // Everything up once more: the stop goes against the order of the start.
    for index in 0..PLANS.len() {
        if !model.running(index) {
            world.carry_out(index, Operation::Start, &model);
            model.apply(index, Operation::Start);
            model.settle();
        }
    }
    world.converges(&mut model, &story("the last start".to_owned()));
    drop(world);
    assert_eq!(it.stops(), 0, "RANDOM_SEED={seed}");
    it.heard.drain(
        ..it.heard
            .iter()
            .rposition(|line| line.contains("stop: stopping"))
            .unwrap(),
    );
    for order in [
        ["c: ended", "b: ended", "a: ended"],
        ["f: ended", "e: ended", "a: ended"],
    ] {
        it.said_in_order(&order);
    }
}

#[test]
fn an_order_to_start_what_runs_changes_nothing() {
    let root = Root::bare();
    let mark = format!("86401.{}", std::process::id());
    let orders = lay_out(&root, &mark);
    let mut it = root.start();
    let mut world = start(&root, &mut it, mark, orders);
    let mut model = Model::new();
    world.converges(&mut model, "the start");
    let c = PLANS.iter().position(|plan| plan.name == "c").unwrap();
    assert_eq!(world.control.order("start", c)["result"], "done");
    // It has Restart=no.
    let end = Operation::Ends(End::Code(1));
    world.carry_out(c, end, &model);
    model.apply(c, end);
    it.hears("c: is not started again");
    world.converges(&mut model, "after its end");
    assert_eq!(it.stops(), 0);
}
