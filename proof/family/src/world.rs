// SPDX-License-Identifier: GPL-2.0

//! A family tree, and beside it what must be true of it, worked out from the history alone.
//!
//! The model knows who was forked from whom, dead processes included, who lives, for which process
//! each anchor was made, who uses it, and for each anchor the set of processes that may map folios
//! that point at it. All else follows by brute force:
//!
//! * A context exists if and only if its process lives, or two of its children have living
//!   descendants (are alive themselves, that is, or have).
//! * The holder of an anchor is the context it was made for, or where that does not exist, the
//!   topmost one forked from it. If there is none, the anchor is freed, at once.
//! * A walk visits each context forked from the holder, directly or not, and the holder, once, and
//!   none before one it was forked from. Among them are all that may map a folio of the anchor.
//! * A process is a leaf if and only if its context is the only one that a walk from its anchor visits.
//!   It is marked as one by the events after which `context.rs` does so.
//! * An anchor is borrowed from the nearest context above the child that has `LEND_FROM` unused ones,
//!   if there is any.

use crate::family::{self, Forest, LEND_FROM};
use crate::heap::{Anchor, Ctx, Heap};
use std::cell::Cell;

/// How many processes may live at a time.
pub(crate) const MAX_LIVING: usize = 256;

/// A set of living processes, by slot.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) struct Set([u64; MAX_LIVING / 64]);

impl Set {
    fn one(slot: usize) -> Self {
        let mut set = Self::default();
        set.insert(slot);
        set
    }

    fn insert(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    fn remove(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    fn has(&self, slot: usize) -> bool {
        self.0[slot / 64] & (1 << (slot % 64)) != 0
    }

    fn len(&self) -> usize {
        self.0.iter().map(|w| w.count_ones() as usize).sum()
    }

    fn first_missing(&self) -> usize {
        (0..MAX_LIVING).find(|&s| !self.has(s)).expect("too many")
    }

    fn within(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(a, b)| a & !b == 0)
    }
}

/// What happens. A process is given by its number among the living, modulo how many there are;
/// [`NEWEST`] counts from the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    Fork(u16),
    /// A fork that fails when the child is linked already.
    FailedFork(u16),
    Exit(u16),
    /// A fork after which the parent exits.
    Daemon(u16),
    /// The first fault of a page.
    Touch(u16),
}

pub(crate) const NEWEST: u16 = 0x8000;

/// A process, dead or alive.
struct Process {
    ctx: Ctx,
    /// `None` for the first of a family.
    parent: Option<usize>,
    anchor: usize,
    slot: Option<usize>,
    /// Marked as a leaf: walks from its anchor only look there.
    marked: bool,
    /// Anchors that it and those above it hold: the same as long as it lives.
    held: usize,
}

struct AnchorModel {
    anchor: Anchor,
    made_for: usize,
    user: Option<usize>,
    is_root: bool,
    freed: bool,
    mappers: Set,
}

struct Page {
    anchor: usize,
    mappers: Set,
}

/// What must be true of a context.
#[derive(Clone, Default)]
struct Expected {
    exists: bool,
    /// Children that live or have living descendants.
    branches: usize,
    branch: usize,
    /// Contexts that exist in the subtree.
    size: usize,
    /// The topmost of them.
    top: usize,
    /// The nearest existing one above.
    up: Option<usize>,
    spare: usize,
    visited: Option<Set>,
    seen_by: usize,
}

pub(crate) struct World {
    heap: Heap,
    processes: Vec<Process>,
    anchors: Vec<AnchorModel>,
    pages: Vec<Page>,
    /// Numbers of the first process and anchor of the present family.
    first: (usize, usize),
    living: Vec<usize>,
    slots: Set,
    /// The most that lived at a time.
    peak: usize,
    pub(crate) events: u64,
    /// Every so many events everything is checked.
    check_each: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            heap: Heap::new(),
            processes: Vec::new(),
            anchors: Vec::new(),
            pages: Vec::new(),
            first: (0, 0),
            living: Vec::new(),
            slots: Set::default(),
            peak: 0,
            events: 0,
            check_each: 1,
        };
        world.found();
        world
    }

    pub(crate) fn check_each(self, check_each: u64) -> Self {
        Self { check_each, ..self }
    }

    pub(crate) fn living(&self) -> usize {
        self.living.len()
    }

    /// Anchors of the present family that exist, the root included.
    pub(crate) fn nr_anchors(&self) -> usize {
        let family = &self.anchors[self.first.1..];
        family.iter().filter(|a| !a.freed).count()
    }

    fn next(&self, top: Ctx, ctx: Ctx) -> Option<Ctx> {
        let first = |ctx| self.heap.node(ctx).first_child.get();
        let after = |_, ctx| self.heap.node(ctx).next.get();
        family::next(&self.heap, top, ctx, first, after)
    }

    /// The numbers of the living that a walk from the anchor of one of them visits.
    pub(crate) fn visited_from(&self, i: usize) -> Vec<usize> {
        let anchor = self.anchors[self.processes[self.living[i]].anchor].anchor;
        let top = self.heap.holder(anchor).expect("a holder");
        let mut pos = Some(top);
        let mut visited = Vec::new();
        while let Some(ctx) = pos {
            visited.extend(self.living.iter().position(|&p| p == ctx.id as usize));
            pos = self.next(top, ctx);
        }
        visited
    }

    pub(crate) fn pick(&self, i: u16) -> usize {
        let n = self.living.len();
        let i = usize::from(i);
        if i < usize::from(NEWEST) {
            i % n
        } else {
            n - 1 - (i - usize::from(NEWEST)) % n
        }
    }

    fn add_anchor(&mut self, is_root: bool) -> usize {
        self.anchors.push(AnchorModel {
            anchor: self.heap.add_anchor(),
            made_for: self.processes.len(),
            user: None,
            is_root,
            freed: false,
            mappers: Set::default(),
        });
        self.anchors.len() - 1
    }

    fn add_process(&mut self, parent: Option<usize>, anchor: usize, held: usize) -> usize {
        let id = self.processes.len();
        let slot = self.slots.first_missing();
        self.slots.insert(slot);
        self.processes.push(Process {
            ctx: self.heap.add_ctx(self.anchors[anchor].anchor),
            parent,
            anchor,
            slot: Some(slot),
            marked: false,
            held,
        });
        self.living.push(id);
        self.peak = self.peak.max(self.living.len());
        let anchor = &mut self.anchors[anchor];
        anchor.user = Some(id);
        anchor.mappers.insert(slot);
        id
    }

    fn found(&mut self) {
        self.first = (self.processes.len(), self.anchors.len());
        self.peak = 0;
        self.pages.clear();
        let anchor = self.add_anchor(false);
        let id = self.add_process(None, anchor, 1);
        family::found(&self.heap, self.processes[id].ctx);
        self.processes[id].marked = true;
    }

    /// The first fork makes the root.
    fn add_root(&mut self, id: usize) {
        let root = self.add_anchor(true);
        let process = &mut self.processes[id];
        process.held += 1;
        let root = &mut self.anchors[root];
        root.made_for = id;
        root.mappers.insert(process.slot.unwrap());
        family::add_root(&self.heap, process.ctx, root.anchor);
    }

    fn fork(&mut self, parent: usize) -> usize {
        if !self.anchors[self.first.1..].iter().any(|a| a.is_root) {
            self.add_root(parent);
        }
        let lender = self.lender(parent);
        let borrowed = family::borrow(&self.heap, self.processes[parent].ctx);
        let anchor = match (lender, borrowed) {
            (Some((lender, expected)), Some(anchor)) => {
                let id = anchor.id as usize;
                let model = &self.anchors[id];
                assert!(!model.freed && !model.is_root, "anchor {id} lent");
                assert_eq!(model.user, None, "anchor {id} lent twice");
                assert_eq!(
                    expected[model.made_for - self.first.0].top,
                    lender,
                    "anchor {id} lent by somebody else"
                );
                id
            }
            (None, None) => self.add_anchor(false),
            (Some((lender, _)), None) => panic!("context {lender} lends nothing"),
            (None, Some(anchor)) => panic!("anchor {} lent", anchor.id),
        };
        let held = self.processes[parent].held + usize::from(borrowed.is_none());
        let child = self.add_process(Some(parent), anchor, held);
        let [parent_slot, slot] = [parent, child].map(|p| self.processes[p].slot.unwrap());

        // Whatever the parent maps, the child maps now.
        let anchors = self.anchors[self.first.1..].iter_mut();
        let pages = self.pages.iter_mut();
        for mappers in anchors
            .map(|a| &mut a.mappers)
            .chain(pages.map(|p| &mut p.mappers))
        {
            if mappers.has(parent_slot) {
                mappers.insert(slot);
            }
        }
        family::join(
            &self.heap,
            self.processes[parent].ctx,
            self.processes[child].ctx,
        );
        self.processes[parent].marked = false;
        self.processes[child].marked = borrowed.is_none();
        child
    }

    fn exit(&mut self, id: usize) {
        let slot = self.processes[id].slot.take().unwrap();
        self.slots.remove(slot);
        self.living.retain(|&p| p != id);
        for anchor in &mut self.anchors[self.first.1..] {
            anchor.mappers.remove(slot);
            if anchor.user == Some(id) {
                anchor.user = None;
            }
        }
        for page in &mut self.pages {
            page.mappers.remove(slot);
        }

        let holders = self.holders();
        self.processes[id].marked = false;
        let mut freed = family::leave(&self.heap, self.processes[id].ctx);
        if let Some(heir) = freed.heir {
            self.processes[heir.id as usize].marked |= family::is_leaf(&self.heap, heir);
        }
        while let Some(anchor) = freed.pop_anchor(&self.heap) {
            let id = anchor.id as usize;
            assert_eq!(
                self.heap.holder(anchor).map(|h| h.id),
                None,
                "freed anchor {id} has a holder"
            );
            self.heap.free_anchor(anchor);
            self.anchors[id].freed = true;
        }
        let mut contexts = 0;
        while let Some(ctx) = freed.pop_ctx(&self.heap) {
            self.heap.free_ctx(ctx);
            contexts += 1;
        }
        assert_eq!(freed.contexts, contexts, "contexts said to be freed");
        let moved = self.holders().into_iter().zip(holders);
        let moved = moved.filter(|(now, then)| now.is_some() && now != then);
        assert_eq!(freed.donated, moved.count(), "anchors said to be donated");
    }

    fn holders(&self) -> Vec<Option<u32>> {
        let family = self.anchors[self.first.1..].iter();
        family
            .map(|a| {
                if a.freed {
                    None
                } else {
                    self.heap.holder(a.anchor).map(|h| h.id)
                }
            })
            .collect()
    }

    fn touch(&mut self, id: usize) {
        let process = &self.processes[id];
        self.pages.push(Page {
            anchor: process.anchor,
            mappers: Set::one(process.slot.unwrap()),
        });
    }

    /// Does it and, unless told otherwise, checks everything after each event.
    pub(crate) fn apply(&mut self, op: Op) {
        if self.living.is_empty() {
            self.found();
            self.event();
            return;
        }
        let (Op::Fork(i) | Op::FailedFork(i) | Op::Exit(i) | Op::Daemon(i) | Op::Touch(i)) = op;
        let id = self.living[self.pick(i)];
        match op {
            Op::Exit(_) => self.exit(id),
            Op::Touch(_) => self.touch(id),
            _ => {
                let child = self.fork(id);
                self.event();
                match op {
                    Op::FailedFork(_) => self.exit(child),
                    Op::Daemon(_) => self.exit(id),
                    _ => return,
                }
            }
        }
        self.event();
    }

    /// All exit. Nothing may be left.
    pub(crate) fn end(&mut self) {
        while let Some(&id) = self.living.first() {
            self.exit(id);
            self.event();
        }
        self.check();
        assert!(self.anchors.iter().all(|a| a.freed), "an anchor leaked");
    }

    fn event(&mut self) {
        self.events += 1;
        if self.events % self.check_each == 0 {
            self.check();
        }
    }

    /// What must be true of each context of the present family, from its first on.
    fn expected(&self) -> Vec<Expected> {
        let base = self.first.0;
        let family = &self.processes[base..];
        let mut expected = vec![Expected::default(); family.len()];

        // Children come after their parents.
        for i in (0..family.len()).rev() {
            let process = &family[i];
            let living = process.slot.is_some();
            let e = &mut expected[i];
            e.exists = living || e.branches >= 2;
            e.size += usize::from(e.exists);
            e.top = if e.exists { base + i } else { e.branch };
            let (size, top) = (e.size, e.top);
            if let (Some(parent), true) = (process.parent, size > 0) {
                let above = &mut expected[parent - base];
                above.branches += 1;
                above.branch = top;
                above.size += size;
            }
        }
        for i in 0..family.len() {
            if let Some(parent) = family[i].parent {
                let above = &expected[parent - base];
                expected[i].up = if above.exists { Some(parent) } else { above.up };
            }
        }
        for anchor in &self.anchors[self.first.1..] {
            let (size, top) = {
                let e = &expected[anchor.made_for - base];
                (e.size, e.top)
            };
            if size > 0 && anchor.user.is_none() && !anchor.is_root {
                expected[top - base].spare += 1;
            }
        }
        expected
    }

    /// Who is expected to lend an anchor to a child of `parent`.
    fn lender(&self, parent: usize) -> Option<(usize, Vec<Expected>)> {
        let expected = self.expected();
        let mut pos = Some(parent);
        while let Some(id) = pos {
            let e = &expected[id - self.first.0];
            if e.spare >= LEND_FROM {
                return Some((id, expected));
            }
            pos = e.up;
        }
        None
    }

    /// The most anchors that a process and those above it can hold, if at most `living` live at a
    /// time. When it made the last of them, each context above it had less than `LEND_FROM` unused
    /// ones, there were less dead contexts than living ones, and the others were in use.
    fn most_held(living: usize) -> usize {
        (LEND_FROM - 1) * (2 * living - 1) + living + 2
    }

    pub(crate) fn check(&self) {
        let base = self.first.0;
        let mut expected = self.expected();

        let mut dead = 0;
        for (e, process) in expected.iter().zip(&self.processes[base..]) {
            let id = process.ctx.id;
            assert_eq!(
                self.heap.has_ctx(process.ctx),
                e.exists,
                "context {id} exists"
            );
            dead += usize::from(e.exists && process.slot.is_none());
        }
        assert!(
            dead == 0 || dead < self.living.len(),
            "too many dead contexts"
        );

        // From above: the walks. Those from anchors of the same holder are the same.
        let mut held_above = 0;
        let mut holdings = vec![(0, 0); expected.len()];
        for (a, anchor) in self.anchors.iter().enumerate().skip(self.first.1) {
            let e = &expected[anchor.made_for - base];
            assert_eq!(anchor.freed, e.size == 0, "anchor {a} is freed");
            if anchor.freed {
                assert!(anchor.mappers.len() == 0);
                continue;
            }
            let top = e.top;
            let holder = self.heap.holder(anchor.anchor);
            assert_eq!(
                holder.map(|h| h.id as usize),
                Some(top),
                "holder of anchor {a}"
            );
            let visited = match expected[top - base].visited {
                Some(visited) => visited,
                None => self.walk(holder.unwrap(), a, &mut expected),
            };
            expected[top - base].visited = Some(visited);
            assert!(
                anchor.mappers.within(&visited),
                "a walk from anchor {a} misses a process"
            );
            held_above += visited.len();
            match anchor.is_root || anchor.user.is_some() {
                true => holdings[top - base].0 += 1,
                false => holdings[top - base].1 += 1,
            }
        }
        for page in &self.pages {
            if page.mappers.len() == 0 {
                continue;
            }
            let top = expected[self.anchors[page.anchor].made_for - base].top;
            let visited = expected[top - base].visited.unwrap();
            assert!(page.mappers.within(&visited), "a walk misses a mapping");
        }

        // From below: the same anchors, each once.
        let seen_by = vec![Cell::new(usize::MAX); self.anchors.len() - self.first.1];
        let mut held_below = 0;
        for &id in &self.living {
            let process = &self.processes[id];
            let held = Cell::new(0);
            let found = family::holds(&self.heap, process.ctx, |anchor| {
                let a = anchor.id as usize;
                let before = seen_by[a - self.first.1].replace(id);
                assert_ne!(before, id, "anchor {a} is held twice above context {id}");
                let top = expected[self.anchors[a].made_for - base].top;
                let visited = expected[top - base].visited.unwrap();
                assert!(
                    visited.has(process.slot.unwrap()),
                    "anchor {a} is held above context {id}, which its walk does not visit"
                );
                held.set(held.get() + 1);
                false
            });
            let held = held.get();
            assert!(!found);
            assert_eq!(held, process.held, "anchors held above context {id}");
            assert!(
                held <= Self::most_held(self.peak),
                "{held} anchors above context {id}"
            );
            held_below += held;

            let summary = family::summary(&self.heap, process.ctx);
            let e = &expected[id - base];
            assert!(!summary.dead);
            assert_eq!(
                summary.alone,
                e.up.is_none() && e.size == 1,
                "context {id} is alone"
            );
            assert_eq!(
                summary.parent.map(|up| up.id as usize),
                e.up,
                "parent of context {id}"
            );
            assert_eq!(
                (summary.used, summary.spare),
                holdings[id - base],
                "anchors that context {id} holds, in use and spare"
            );
            self.gather_and_part(process.ctx, summary.alone, holdings[id - base]);
            let anchor = &self.anchors[process.anchor];
            assert!(family::holds(&self.heap, process.ctx, |a| a == anchor.anchor));
            let alone = expected[anchor.made_for - base].top == id && expected[id - base].size == 1;
            let leaf = family::is_leaf(&self.heap, process.ctx);
            assert_eq!(leaf, alone, "context {id} is a leaf");
            assert_eq!(process.marked, alone, "context {id} is marked as a leaf");
        }
        assert_eq!(held_above, held_below, "anchors seen from above and below");
    }

    /// All that a context holds is in a list, and in a ring again, if it is alone.
    fn gather_and_part(&self, ctx: Ctx, alone: bool, holdings: (usize, usize)) {
        let all = family::gather(&self.heap, ctx);
        assert_eq!(all.is_some(), alone, "context {} is alone", ctx.id);
        assert_eq!(family::is_alone(&self.heap, ctx), alone);
        if let Some(first) = all {
            let number = std::iter::successors(all, |&a| self.heap.next_anchor(a)).count();
            assert_eq!(
                number,
                holdings.0 + holdings.1,
                "anchors of one that is alone"
            );
            family::part(&self.heap, ctx, first);
        }
        let summary = family::summary(&self.heap, ctx);
        assert_eq!(
            (summary.used, summary.spare),
            holdings,
            "gathered and parted"
        );
    }

    /// Walks the subtree of `top` and returns the living processes in it.
    fn walk(&self, top: Ctx, nr: usize, expected: &mut [Expected]) -> Set {
        let base = self.first.0;
        let mut visited = Set::default();
        let mut count = 0;
        let mut pos = Some(top);

        while let Some(ctx) = pos {
            let id = ctx.id as usize;
            let up = expected[id - base].up;
            assert!(
                ctx == top || up.is_some_and(|up| expected[up - base].seen_by == nr + 1),
                "context {id} is visited before the one above it"
            );
            let e = &mut expected[id - base];
            assert_ne!(e.seen_by, nr + 1, "context {id} is visited twice");
            e.seen_by = nr + 1;
            if let Some(slot) = self.processes[id].slot {
                visited.insert(slot);
            }
            count += 1;
            pos = self.next(top, ctx);
        }
        assert_eq!(
            count,
            expected[top.id as usize - base].size,
            "contexts visited"
        );
        visited
    }
}
