// SPDX-License-Identifier: GPL-2.0

//! A model of what walks and learning have to do with: processes with VMAs at addresses, page table
//! entries, munmap and fork step by step, and walks that go on beside all that.
//!
//! A VMA has one page. A *walk* marks the entries that it meets, as migration replaces them, and a
//! copied or moved entry keeps its marks. So at its end no entry without mark may refer to a folio
//! that the walk looked for. And whenever nothing else happens, walks for all folios there are, from
//! all anchors, must visit all that have an entry.

use crate::family::{self, Forest};
use crate::heap::{Heap, MAX};
use crate::learn::{self, Member, Range, Shares};
use std::cell::Cell;
use std::collections::BTreeSet;

/// Addresses, and page offsets that are addresses.
pub(crate) const PAGES: usize = 5;
const WALKS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A page is mapped at an address, unfaulted.
    Map,
    /// It is written to: a new folio.
    Touch,
    /// It is swapped in while others may have the same entry: a folio of the root.
    SwapIn,
    /// It is unmapped: the VMA leaves the tree...
    Unmap,
    /// ...with the mmap_lock held for write, instead of read, until it is zapped...
    UnmapLocked,
    /// ...which happens now.
    Zap,
    /// Something else is mapped over it.
    Fixed,
    /// It moves to another address.
    Move,
    /// A child is forked, and visible...
    Fork,
    /// ...one more address is copied...
    Copy,
    /// ...or all that is left.
    CopyAll,
    /// The fork fails.
    Fail,
    /// A process exits.
    Exit,
    /// A walk begins.
    Walk,
    /// It goes on.
    Step,
    /// It goes on to its end.
    Run,
    /// It ends early.
    End,
    /// An allocation will fail.
    NoMemory,
}

pub(crate) const WHATS: [What; 18] = [
    What::Map,
    What::Touch,
    What::SwapIn,
    What::Unmap,
    What::UnmapLocked,
    What::Zap,
    What::Fixed,
    What::Move,
    What::Fork,
    What::Copy,
    What::CopyAll,
    What::Fail,
    What::Exit,
    What::Walk,
    What::Step,
    What::Run,
    What::End,
    What::NoMemory,
];

/// An event, with a process or walk, an address, and another one.
pub(crate) type Op = (What, u8, u8, u8);

#[derive(Clone, Copy)]
struct Entry {
    folio: usize,
    /// One bit per walk.
    marks: u8,
}

#[derive(Clone, Copy)]
struct Vma {
    pgoff: usize,
    lazy: bool,
    entry: Option<Entry>,
}

#[derive(Clone, Copy)]
struct Folio {
    anchor: usize,
    index: usize,
}

struct Process {
    ctx: usize,
    anchor: usize,
    /// The address space is visible to walks.
    mm: bool,
    exists: bool,
    tree: [Option<Vma>; PAGES],
    /// Out of the tree, but not zapped; and whether its chain is what a walk finds it by.
    detached: Option<(Vma, bool)>,
    locked: bool,
    /// Being forked: the parent, and how many addresses are copied.
    copying: Option<(usize, usize)>,
    /// Its child is.
    forking: bool,
}

struct Walk {
    range: Range,
    targets: BTreeSet<usize>,
    learn: learn::Walk<usize>,
    ctx: usize,
    visited: Vec<usize>,
}

pub(crate) struct World<const FROM: usize> {
    pub(crate) heap: Heap<FROM>,
    root: usize,
    processes: Vec<Process>,
    folios: Vec<Folio>,
    walks: [Option<Walk>; WALKS],
    /// Events that were possible.
    pub(crate) events: u64,
    /// Contexts that walks visited.
    pub(crate) visits: u64,
}

struct InMember<'a, const FROM: usize> {
    world: &'a World<FROM>,
    process: &'a Process,
}

impl<const FROM: usize> InMember<'_, FROM> {
    /// What the tree has at an address, and whether it is the process's own.
    fn at(&self, address: usize) -> Option<(Vma, bool)> {
        match self.process.copying {
            Some((parent, copied)) if address >= copied => {
                self.world.processes[parent].tree[address].map(|vma| (vma, false))
            }
            _ => self.process.tree[address].map(|vma| (vma, true)),
        }
    }
}

impl<const FROM: usize> Member for InMember<'_, FROM> {
    fn try_lock(&self) -> bool {
        !self.process.locked && self.process.copying.is_none()
    }

    fn unlock(&self) {}

    fn look_up(&self, pgoff: usize) -> Option<Range> {
        let one = Range {
            first: pgoff,
            last: pgoff,
        };
        match (pgoff < PAGES).then(|| self.at(pgoff)).flatten() {
            Some((vma, own)) => (!own || !vma.lazy || vma.pgoff != pgoff).then_some(one),
            None => {
                let free = |&a: &usize| a >= PAGES || self.at(a).is_none();
                let first = (0..pgoff).rev().take_while(free).last();
                let last = (pgoff + 1..PAGES).take_while(free).last();
                let last = last.unwrap_or(pgoff);
                Some(Range {
                    first: first.unwrap_or(pgoff),
                    last: if last + 1 >= PAGES { usize::MAX } else { last },
                })
            }
        }
    }

    fn displaced(&self, range: Range) -> Option<Range> {
        let own = self.process.copying.map_or(PAGES, |(_, copied)| copied);
        let tree = self.process.tree[..own].iter().enumerate();
        let chained = tree
            .filter_map(|(address, vma)| vma.filter(|vma| vma.lazy && vma.pgoff != address))
            .chain(self.process.detached.filter(|d| d.1).map(|d| d.0));
        let pgoffs = chained.map(|vma| vma.pgoff);
        let first = pgoffs
            .filter(|p| (range.first..=range.last).contains(p))
            .min()?;
        Some(Range { first, last: first })
    }

    fn has_detached(&self) -> bool {
        self.process.detached.is_some_and(|d| !d.1)
    }
}

impl<const FROM: usize> World<FROM> {
    /// A family of one process.
    pub(crate) fn new() -> Self {
        let mut heap = Heap::new();
        let root = heap.add_anchor();
        let anchor = heap.add_anchor();
        let ctx = heap.add_ctx(anchor);
        family::found(&heap, ctx);
        family::add_root(&heap, ctx, root);
        let mut world = Self {
            heap,
            root,
            processes: Vec::new(),
            folios: Vec::new(),
            walks: [const { None }; WALKS],
            events: 0,
            visits: 0,
        };
        world.add_process(ctx, anchor, None);
        world
    }

    fn add_process(&mut self, ctx: usize, anchor: usize, parent: Option<usize>) {
        self.processes.push(Process {
            ctx,
            anchor,
            mm: true,
            exists: true,
            tree: [None; PAGES],
            detached: None,
            locked: false,
            copying: parent.map(|parent| (parent, 0)),
            forking: false,
        });
    }

    fn pick(&self, nr: u8, fits: impl Fn(&Process) -> bool) -> Option<usize> {
        let there: Vec<_> = (0..self.processes.len())
            .filter(|&p| self.processes[p].exists && fits(&self.processes[p]))
            .collect();
        (!there.is_empty()).then(|| there[usize::from(nr) % there.len()])
    }

    /// One that may change its address space.
    fn writer(&self, nr: u8) -> Option<usize> {
        self.pick(nr, |p| {
            p.copying.is_none() && !p.forking && p.detached.is_none()
        })
    }

    fn new_folio(&mut self, anchor: usize, index: usize) -> usize {
        self.folios.push(Folio { anchor, index });
        self.folios.len() - 1
    }

    fn walking(&self) -> bool {
        self.walks.iter().any(Option::is_some)
    }

    fn walk_nr(&self, nr: u8) -> Option<usize> {
        let there: Vec<_> = (0..WALKS).filter(|&w| self.walks[w].is_some()).collect();
        (!there.is_empty()).then(|| there[usize::from(nr) % there.len()])
    }

    /// Does it, if it is possible, and checks everything.
    pub(crate) fn apply(&mut self, op: Op) -> bool {
        let done = self.event(op).is_some();
        if done {
            self.events += 1;
            self.check();
        }
        done
    }

    fn event(&mut self, (what, nr, at, to): Op) -> Option<()> {
        let (at, to) = (usize::from(at) % PAGES, usize::from(to) % PAGES);
        match what {
            What::Map | What::Fixed => {
                let p = self.writer(nr)?;
                let vma = &mut self.processes[p].tree[at];
                if vma.is_some() != (what == What::Fixed) {
                    return None;
                }
                *vma = Some(Vma {
                    pgoff: at,
                    lazy: false,
                    entry: None,
                });
            }
            What::Touch => {
                // While it unmaps, too, if that has the mmap_lock for read.
                let p = self.pick(nr, |p| p.copying.is_none() && !p.forking && !p.locked)?;
                let (anchor, vma) = (self.processes[p].anchor, self.processes[p].tree[at]?);
                let folio = self.new_folio(anchor, vma.pgoff);
                self.processes[p].tree[at] = Some(Vma {
                    lazy: true,
                    entry: Some(Entry { folio, marks: 0 }),
                    ..vma
                });
            }
            What::SwapIn => {
                let p = self.writer(nr)?;
                let old = self.processes[p].tree[at]?.entry?.folio;
                // Not while somebody has it locked.
                if self
                    .walks
                    .iter()
                    .flatten()
                    .any(|w| w.targets.contains(&old))
                {
                    return None;
                }
                let new = self.new_folio(self.root, self.folios[old].index);
                for entry in self.entries() {
                    if entry.folio == old {
                        entry.folio = new;
                    }
                }
            }
            What::Unmap | What::UnmapLocked => {
                let p = self.writer(nr)?;
                let process = &mut self.processes[p];
                let vma = process.tree[at].take()?;
                if vma.lazy {
                    process.detached = Some((vma, vma.pgoff != at));
                    process.locked = what == What::UnmapLocked;
                }
            }
            What::Zap => {
                let p = self.pick(nr, |p| p.detached.is_some())?;
                self.processes[p].detached = None;
                self.processes[p].locked = false;
            }
            What::Move => {
                let p = self.writer(nr)?;
                let tree = &mut self.processes[p].tree;
                if tree[to].is_some() {
                    return None;
                }
                let mut vma = tree[at].take()?;
                if !vma.lazy {
                    vma.pgoff = to;
                }
                tree[to] = Some(vma);
            }
            What::Fork => {
                if self.walking() || self.heap.nr_ctxs == MAX || self.heap.nr_anchors == MAX {
                    return None;
                }
                let p = self.writer(nr)?;
                let above = self.processes[p].ctx;
                learn::prepare(&self.heap, above);
                let anchor = family::borrow(&self.heap, above);
                let anchor = anchor.unwrap_or_else(|| self.heap.add_anchor());
                let ctx = self.heap.add_ctx(anchor);
                family::join(&self.heap, above, ctx);
                self.processes[p].forking = true;
                self.add_process(ctx, anchor, Some(p));
            }
            What::Copy | What::CopyAll => {
                let c = self.pick(nr, |p| p.copying.is_some())?;
                self.copy(c, if what == What::Copy { 1 } else { PAGES });
            }
            What::Fail => {
                if self.walking() {
                    return None;
                }
                let c = self.pick(nr, |p| p.copying.is_some())?;
                let (parent, _) = self.processes[c].copying.take()?;
                self.processes[parent].forking = false;
                self.exit(c);
            }
            What::Exit => {
                if self.walking() {
                    return None;
                }
                let p = self.writer(nr)?;
                if self.processes.iter().filter(|p| p.exists).count() == 1 {
                    return None;
                }
                self.exit(p);
            }
            What::Walk => {
                let w = (0..WALKS).find(|&w| self.walks[w].is_none())?;
                // From one of the anchors that have folios.
                let mapped: BTreeSet<_> = self.entries().map(|e| e.folio).collect();
                let mapped: Vec<_> = mapped.into_iter().collect();
                let folio = self.folios[*mapped.get(usize::from(nr) % mapped.len().max(1))?];
                let range = match to {
                    0 => Range {
                        first: folio.index.saturating_sub(1),
                        last: folio.index + 1,
                    },
                    _ => Range {
                        first: folio.index,
                        last: folio.index,
                    },
                };
                let wanted = |f: &Folio| {
                    f.anchor == folio.anchor && (range.first..=range.last).contains(&f.index)
                };
                let targets = mapped.into_iter().filter(|&f| wanted(&self.folios[f]));
                let targets = targets.collect();
                for entry in self.entries() {
                    entry.marks &= !(1 << w);
                }
                let top = self.heap.holder(folio.anchor).expect("a holder");
                self.walks[w] = Some(Walk {
                    range,
                    targets,
                    learn: self.walk(folio.anchor, range, w != 1),
                    ctx: top,
                    visited: Vec::new(),
                });
            }
            What::Step => {
                let w = self.walk_nr(nr)?;
                self.step(w);
            }
            What::Run => {
                let w = self.walk_nr(nr)?;
                while self.step(w) {}
            }
            What::End => {
                let w = self.walk_nr(nr)?;
                let walk = self.walks[w].take()?;
                learn::end(&self.heap, &walk.learn, walk.ctx);
            }
            What::NoMemory => self.heap.fail_in.set(Some(u32::from(nr) % 3)),
        }
        if what != What::NoMemory && self.heap.fail_in.get() == Some(0) {
            self.heap.fail_in.set(None);
        }
        Some(())
    }

    fn entries(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.processes.iter_mut().flat_map(|p| {
            let detached = p.detached.iter_mut().map(|(vma, _)| vma);
            let vmas = p.tree.iter_mut().flatten().chain(detached);
            vmas.filter_map(|vma| vma.entry.as_mut())
        })
    }

    fn copy(&mut self, c: usize, count: usize) {
        for _ in 0..count {
            let Some((parent, copied)) = self.processes[c].copying else {
                return;
            };
            self.processes[c].tree[copied] = self.processes[parent].tree[copied];
            self.processes[c].copying = Some((parent, copied + 1));
            if copied + 1 == PAGES {
                self.processes[c].copying = None;
                self.processes[parent].forking = false;
            }
        }
    }

    fn exit(&mut self, p: usize) {
        let process = &mut self.processes[p];
        process.tree = [None; PAGES];
        process.mm = false;
        process.exists = false;
        let mut freed = family::leave(&self.heap, process.ctx);
        while let Some(anchor) = freed.pop_anchor(&self.heap) {
            self.heap.free_anchor(anchor);
        }
        while let Some(ctx) = freed.pop_ctx(&self.heap) {
            self.heap.free_ctx(ctx);
        }
    }

    /// A walk visits a context and goes on. False at its end.
    fn step(&mut self, w: usize) -> bool {
        let mut walk = self.walks[w].take().expect("a walk");
        let ctx = walk.ctx;
        assert!(
            !walk.visited.contains(&ctx),
            "context {ctx} is visited twice"
        );
        if let Some(above) = self.heap.node(ctx).parent.get() {
            assert!(
                ctx == walk.learn.top || walk.visited.contains(&above),
                "context {ctx} is visited before {above}"
            );
        }
        walk.visited.push(ctx);
        self.visits += 1;

        let mut hole = None;
        if let Some(p) = self.processes.iter().position(|p| p.ctx == ctx && p.mm) {
            let process = &mut self.processes[p];
            let detached = process.detached.iter_mut().map(|(vma, _)| vma);
            let mut found = false;
            for vma in process.tree.iter_mut().flatten().chain(detached) {
                if vma.lazy && vma.pgoff >= walk.range.first && vma.pgoff <= walk.range.last {
                    found = true;
                    if let Some(entry) = &mut vma.entry {
                        entry.marks |= 1 << w;
                    }
                }
            }
            let process = &self.processes[p];
            let knows = walk.learn.range.is_some();
            if knows && !found && learn::can_learn(&self.heap, walk.learn.top, ctx) {
                let world = &*self;
                hole = learn::gap(&InMember { world, process }, walk.range);
            }
        }
        match learn::next(&self.heap, &walk.learn, ctx, hole) {
            Some(next) => {
                walk.ctx = next;
                self.walks[w] = Some(walk);
                true
            }
            None => {
                let missed = self
                    .entries()
                    .any(|e| walk.targets.contains(&e.folio) && e.marks & (1 << w) == 0);
                assert!(!missed, "a walk of {:?} missed a mapping", walk.range);
                false
            }
        }
    }

    /// A walk from an anchor, which remembers the only child to visit or not.
    fn walk(&self, anchor: usize, range: Range, remembers: bool) -> learn::Walk<usize> {
        learn::Walk {
            top: self.heap.holder(anchor).expect("a holder"),
            range: learn::knows(&self.heap, anchor).then_some(range),
            only: remembers.then(|| Cell::new(None)),
        }
    }

    /// All contexts that a walk would visit now.
    pub(crate) fn visited(&self, anchor: usize, range: Range) -> Vec<usize> {
        let walk = self.walk(anchor, range, true);
        let mut pos = Some(walk.top);
        let mut visited = Vec::new();
        while let Some(ctx) = pos {
            assert!(
                !visited.contains(&ctx),
                "context {ctx} would be visited twice"
            );
            visited.push(ctx);
            pos = learn::next(&self.heap, &walk, ctx, None);
        }
        visited
    }

    /// What must be true at any time.
    fn check(&self) {
        let mut mapped = BTreeSet::new();
        for process in self.processes.iter().filter(|p| p.exists) {
            let detached = process.detached.iter().map(|(vma, _)| vma);
            for vma in process.tree.iter().flatten().chain(detached) {
                if let Some(entry) = vma.entry {
                    let Folio { anchor, index } = self.folios[entry.folio];
                    mapped.insert((anchor, index, process.ctx));
                }
            }
        }
        let mut last = None;
        let mut visited = Vec::new();
        for (anchor, index, ctx) in mapped {
            if last != Some((anchor, index)) {
                let range = Range {
                    first: index,
                    last: index,
                };
                visited = self.visited(anchor, range);
                last = Some((anchor, index));
            }
            assert!(
                visited.contains(&ctx),
                "a walk from anchor {anchor} for {index} would miss context {ctx}"
            );
        }

        // Who is inside which index, and what is in it.
        for ctx in (0..self.heap.nr_ctxs).filter(|&c| self.heap.ctx_exists(c)) {
            let inside = |w: &&Walk| {
                let mut pos = w.ctx;
                while pos != w.learn.top {
                    let only = w.learn.only.as_ref().and_then(Cell::get) == Some(pos);
                    pos = self.heap.node(pos).parent.get().unwrap();
                    if pos == ctx {
                        return !only;
                    }
                }
                false
            };
            let inside = self.walks.iter().flatten().filter(inside).count();
            if let Some(walks) = self.heap.walks_inside(ctx) {
                assert_eq!(walks as usize, inside, "inside {ctx}");
            }
            let mut shares = self.heap.shares_in(ctx);
            shares.sort_by_key(|&(child, range)| (child, range.first));
            for two in shares.windows(2) {
                let [(a, x), (b, y)] = [two[0], two[1]];
                assert!(a != b || x.last < y.first, "shares of {a} overlap");
            }
            for &(child, _) in &shares {
                assert_eq!(self.heap.node(child).parent.get(), Some(ctx));
                let nr = shares.iter().filter(|s| s.0 == child).count();
                assert!(nr <= usize::from(Heap::<FROM>::MAX_SHARES), "{nr} shares");
            }
            self.check_chain(ctx);
        }
    }

    /// Behind those that nothing was learned about are the learned children, and nobody else.
    fn check_chain(&self, parent: usize) {
        let first = self.heap.first_learned_of(parent);
        let mut learned = false;
        let mut prev = None;
        let mut pos = self.heap.node(parent).first_child.get();
        while let Some(ctx) = pos {
            let node = self.heap.node(ctx);
            assert_eq!(node.prev.get(), prev, "chain of {parent}");
            learned |= first == Some(ctx);
            assert_eq!(learned, node.learned.get(), "{ctx} is learned");
            prev = pos;
            pos = node.next.get();
        }
        assert_eq!(learned, first.is_some());
    }

    /// All walks end and all exit. Nothing may be left.
    pub(crate) fn end(&mut self) {
        for w in 0..WALKS {
            if self.walks[w].is_some() {
                while self.step(w) {}
            }
        }
        while self.apply((What::CopyAll, 0, 0, 0)) {}
        while self.apply((What::Zap, 0, 0, 0)) {}
        while self.apply((What::Exit, 0, 0, 0)) {}
        let last = self.writer(0).expect("the last process");
        self.exit(last);
        assert!((0..self.heap.nr_ctxs).all(|c| !self.heap.ctx_exists(c)));
        assert_eq!(self.heap.nr_shares(), 0, "a share leaked");
    }

    /// The anchor of a process, by number.
    pub(crate) fn anchor_of(&self, p: usize) -> usize {
        self.processes[p].anchor
    }
}
