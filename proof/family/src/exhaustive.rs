// SPDX-License-Identifier: GPL-2.0

//! Every history of a family with few processes and few events: `PROOF_EVENTS=n`, or 8.

use crate::{
    number,
    world::{Op, World},
};
use std::thread;

/// Processes that live at a time, the child of a fork that fails included.
const PROCESSES: usize = 4;
const EVENTS: usize = 8;

/// What can happen next where `living` processes live.
fn events(living: usize) -> impl Iterator<Item = Op> {
    let forks = living < PROCESSES;
    (0..living as u16).flat_map(move |i| {
        [
            forks.then_some(Op::Fork(i)),
            forks.then_some(Op::FailedFork(i)),
            Some(Op::Exit(i)),
            Some(Op::Touch(i)),
        ]
        .into_iter()
        .flatten()
    })
}

/// Checks what is true after the last event of a history, and of all that begin with it. Returns
/// how many they are. (What was true before the last event was checked before.)
fn explore(history: &mut Vec<Op>, max: usize) -> u64 {
    let mut world = World::new().check_each(u64::MAX);
    for &op in history.iter() {
        world.apply(op);
    }
    world.check();

    let mut count = 1;
    if history.len() < max {
        for op in events(world.living()) {
            history.push(op);
            count += explore(history, max);
            history.pop();
        }
    }
    count
}

/// How many histories of up to `events` events there are.
fn histories(living: u64, events: usize) -> u64 {
    if events == 0 {
        return 1;
    }
    let mut count = 1;
    if living > 0 {
        let same = histories(living, events - 1);
        count += living * (same + histories(living - 1, events - 1));
        if living < PROCESSES as u64 {
            count += living * (same + histories(living + 1, events - 1));
        }
    }
    count
}

#[test]
fn every_history_of_few_events() {
    let max = number("PROOF_EVENTS").map_or(EVENTS, |n| n as usize).max(2);
    // Shared among threads by the first two events.
    let begins: Vec<[Op; 2]> = events(1)
        .flat_map(|first| {
            let living = match first {
                Op::Fork(_) => 2,
                Op::Exit(_) => 0,
                _ => 1,
            };
            events(living).map(move |second| [first, second])
        })
        .collect();
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    let mut count: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|t| {
                let begins = &begins;
                scope.spawn(move || {
                    let mine = begins.iter().skip(t).step_by(threads);
                    mine.map(|begin| explore(&mut begin.to_vec(), max))
                        .sum::<u64>()
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).sum()
    });
    // No event at all, and a single one.
    count += 1 + events(1).count() as u64;
    println!("{count} histories of up to {max} events and {PROCESSES} processes");
    assert_eq!(count, histories(1, max));
}
