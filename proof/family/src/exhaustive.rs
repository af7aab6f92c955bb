// SPDX-License-Identifier: GPL-2.0

//! Every history of a family with few processes and few events: `PROOF_EVENTS=n`, or 8.

use crate::{
    family::LEND_FROM,
    number,
    world::{Op, World},
};
use std::{panic::resume_unwind, thread};

/// Processes that live at a time, the child of a fork that fails included.
const PROCESSES: usize = 4;
const EVENTS: usize = 8;

/// A history, shown if what is checked fails.
struct Shown<'a>(usize, &'a [Op]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let Shown(generations, history) = self;
            eprintln!("after {generations} times Daemon(0): {history:?}");
        }
    }
}

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
fn explore(generations: usize, history: &mut Vec<Op>, max: usize) -> u64 {
    let mut world = World::new().check_each(u64::MAX);
    let shown = Shown(generations, history);
    for _ in 0..generations {
        world.apply(Op::Daemon(0));
    }
    for &op in history.iter() {
        world.apply(op);
    }
    world.check();
    drop(shown);

    let mut count = 1;
    if history.len() < max {
        for op in events(world.living()) {
            history.push(op);
            count += explore(generations, history, max);
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

/// Every history of a family that begins with a process that inherited an anchor of each of so many
/// `generations`.
fn every_history(generations: usize) {
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
    let mut count = explore(generations, &mut Vec::new(), 0);
    for first in events(1) {
        count += explore(generations, &mut vec![first], 0);
    }
    count += thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|t| {
                let mine = begins.iter().skip(t).step_by(threads);
                scope.spawn(move || {
                    mine.map(|begin| explore(generations, &mut begin.to_vec(), max))
                        .sum::<u64>()
                })
            })
            .collect();
        let counts = workers.into_iter().map(|w| w.join());
        counts
            .map(|count| count.unwrap_or_else(|why| resume_unwind(why)))
            .sum::<u64>()
    });
    println!(
        "{count} histories of up to {max} events and {PROCESSES} processes, \
         after {generations} generations"
    );
    assert_eq!(count, histories(1, max));
}

#[test]
fn every_history_of_few_events() {
    every_history(0);
}

/// In so few events nobody comes to lend anything, so here is one who has enough to lend two.
#[test]
fn every_history_of_a_lender() {
    every_history(LEND_FROM + 1);
}
