// SPDX-License-Identifier: GPL-2.0

//! Contexts, anchors, indexes and shares by number. Numbers are not used again: whatever is done
//! with one that is freed fails.

use crate::family::{self, Forest};
use crate::learn::{self, Range, Shares};
use std::cell::{Cell, RefCell};

/// Contexts and anchors in the life of a heap.
pub(crate) const MAX: usize = 64;

struct Context {
    anchor: Cell<usize>,
    exists: Cell<bool>,
    node: family::Node<usize, usize>,
    learner: learn::Node<usize, usize>,
    // The index of its children, which has the same number.
    has_index: Cell<bool>,
    walks: Cell<u32>,
    locked: Cell<bool>,
    first_learned: Cell<Option<usize>>,
}

#[derive(Default)]
struct Anchor {
    exists: Cell<bool>,
    holder: Cell<Option<usize>>,
    next: Cell<Option<usize>>,
}

struct Share {
    index: usize,
    ctx: usize,
    range: Range,
    sibling: Option<usize>,
}

pub(crate) struct Heap<const FROM: usize> {
    ctxs: Vec<Context>,
    anchors: Vec<Anchor>,
    shares: RefCell<Vec<Option<Share>>>,
    pub(crate) nr_ctxs: usize,
    pub(crate) nr_anchors: usize,
    /// Fails the allocation of an index or a share after this many.
    pub(crate) fail_in: Cell<Option<u32>>,
    /// Holes learned: shares made, changed or removed while a walk learned.
    pub(crate) learned: Cell<u64>,
}

impl<const FROM: usize> Heap<FROM> {
    pub(crate) fn new() -> Self {
        let ctx = |_| Context {
            anchor: Cell::new(0),
            exists: Cell::new(false),
            node: family::Node::new(),
            learner: learn::Node::new(),
            has_index: Cell::new(false),
            walks: Cell::new(0),
            locked: Cell::new(false),
            first_learned: Cell::new(None),
        };
        Self {
            ctxs: (0..MAX).map(ctx).collect(),
            anchors: (0..MAX).map(|_| Anchor::default()).collect(),
            shares: RefCell::new(Vec::new()),
            nr_ctxs: 0,
            nr_anchors: 0,
            fail_in: Cell::new(None),
            learned: Cell::new(0),
        }
    }

    pub(crate) fn add_ctx(&mut self, anchor: usize) -> usize {
        let ctx = self.nr_ctxs;
        self.nr_ctxs += 1;
        self.ctxs[ctx].anchor.set(anchor);
        self.ctxs[ctx].exists.set(true);
        ctx
    }

    pub(crate) fn add_anchor(&mut self) -> usize {
        let anchor = self.nr_anchors;
        self.nr_anchors += 1;
        self.anchors[anchor].exists.set(true);
        anchor
    }

    pub(crate) fn free_ctx(&self, ctx: usize) {
        assert!(!self.ctx(ctx).has_index.get(), "index of {ctx} leaked");
        assert!(self.ctxs[ctx].exists.replace(false), "freed twice");
    }

    pub(crate) fn free_anchor(&self, anchor: usize) {
        assert!(self.anchors[anchor].exists.replace(false), "freed twice");
    }

    pub(crate) fn ctx_exists(&self, ctx: usize) -> bool {
        self.ctxs[ctx].exists.get()
    }

    pub(crate) fn walks_inside(&self, ctx: usize) -> Option<u32> {
        let ctx = &self.ctxs[ctx];
        ctx.has_index.get().then(|| ctx.walks.get())
    }

    pub(crate) fn first_learned_of(&self, ctx: usize) -> Option<usize> {
        self.ctxs[ctx].first_learned.get()
    }

    /// The shares in the index of a context: child and range.
    pub(crate) fn shares_in(&self, index: usize) -> Vec<(usize, Range)> {
        let shares = self.shares.borrow();
        let there = shares.iter().flatten().filter(|s| s.index == index);
        there.map(|s| (s.ctx, s.range)).collect()
    }

    pub(crate) fn nr_shares(&self) -> usize {
        self.shares.borrow().iter().flatten().count()
    }

    fn ctx(&self, ctx: usize) -> &Context {
        assert!(self.ctxs[ctx].exists.get(), "context {ctx} used after free");
        &self.ctxs[ctx]
    }

    fn index(&self, index: usize) -> &Context {
        assert!(
            self.ctx(index).has_index.get(),
            "index {index} used after free"
        );
        self.ctx(index)
    }

    fn anchor_at(&self, anchor: usize) -> &Anchor {
        assert!(self.anchors[anchor].exists.get(), "anchor used after free");
        &self.anchors[anchor]
    }

    fn with<R>(&self, share: usize, f: impl FnOnce(&mut Share) -> R) -> R {
        f(self.shares.borrow_mut()[share]
            .as_mut()
            .expect("share used after free"))
    }

    fn fails(&self) -> bool {
        match self.fail_in.get() {
            Some(0) => true,
            Some(n) => {
                self.fail_in.set(Some(n - 1));
                false
            }
            None => false,
        }
    }

    /// The first share after `after` in the order of an interval tree.
    fn search(&self, index: usize, after: Option<usize>, range: Range) -> Option<usize> {
        let shares = self.shares.borrow();
        let key = |s: usize| (shares[s].as_ref().unwrap().range.first, s);
        let hits = shares.iter().enumerate().filter_map(|(nr, s)| {
            let s = s.as_ref()?;
            let hit =
                s.index == index && s.range.first <= range.last && s.range.last >= range.first;
            hit.then_some(nr)
        });
        hits.filter(|&s| after.is_none_or(|a| key(s) > key(a)))
            .min_by_key(|&s| key(s))
    }
}

impl<const FROM: usize> Forest for Heap<FROM> {
    type Ctx = usize;
    type Anchor = usize;

    fn node(&self, ctx: usize) -> &family::Node<usize, usize> {
        &self.ctx(ctx).node
    }

    fn anchor(&self, ctx: usize) -> usize {
        self.ctx(ctx).anchor.get()
    }

    fn holder(&self, anchor: usize) -> Option<usize> {
        self.anchor_at(anchor).holder.get()
    }

    fn set_holder(&self, anchor: usize, ctx: Option<usize>) {
        self.anchor_at(anchor).holder.set(ctx);
    }

    fn next_anchor(&self, anchor: usize) -> Option<usize> {
        self.anchor_at(anchor).next.get()
    }

    fn set_next_anchor(&self, anchor: usize, next: Option<usize>) {
        self.anchor_at(anchor).next.set(next);
    }

    fn replace(&self, ctx: usize, with: Option<usize>) {
        learn::replace(self, ctx, with);
    }
}

impl<const FROM: usize> Shares for Heap<FROM> {
    type Index = usize;
    type Share = usize;

    const LEARN_FROM: usize = FROM;
    const MAX_SHARES: u16 = 2;

    fn learner(&self, ctx: usize) -> &learn::Node<usize, usize> {
        &self.ctx(ctx).learner
    }

    fn alloc_index(&self, ctx: usize) -> Option<usize> {
        if self.fails() {
            return None;
        }
        assert!(!self.ctx(ctx).has_index.replace(true));
        Some(ctx)
    }

    fn free_index(&self, index: usize) {
        assert_eq!(self.shares_in(index), [], "index {index} freed with shares");
        assert_eq!(self.index(index).walks.get(), 0);
        self.index(index).has_index.set(false);
    }

    fn first_learned(&self, index: usize) -> &Cell<Option<usize>> {
        &self.index(index).first_learned
    }

    fn walks(&self, index: usize) -> &Cell<u32> {
        let index = self.index(index);
        assert!(index.locked.get(), "number of walks without the lock");
        &index.walks
    }

    fn locked<R>(&self, index: usize, f: impl FnOnce() -> R) -> R {
        let locked = &self.index(index).locked;
        assert!(!locked.replace(true), "locked twice");
        let result = f();
        locked.set(false);
        result
    }

    fn learned(&self, _of: usize, _hole: Range) {
        self.learned.set(self.learned.get() + 1);
    }

    fn insert(&self, index: usize, of: usize, range: Range) -> Option<usize> {
        assert!(range.first <= range.last);
        if self.fails() {
            return None;
        }
        self.index(index);
        let mut shares = self.shares.borrow_mut();
        shares.push(Some(Share {
            index,
            ctx: of,
            range,
            sibling: None,
        }));
        Some(shares.len() - 1)
    }

    fn remove(&self, index: usize, share: usize) {
        self.with(share, |s| {
            assert_eq!(s.index, index, "share of another index")
        });
        self.shares.borrow_mut()[share] = None;
    }

    fn resize(&self, index: usize, share: usize, range: Range) {
        assert!(range.first <= range.last);
        self.with(share, |s| {
            assert_eq!(s.index, index, "share of another index");
            s.range = range;
        });
    }

    fn first_share(&self, index: usize, range: Range) -> Option<usize> {
        self.index(index);
        self.search(index, None, range)
    }

    fn next_share(&self, share: usize, range: Range) -> Option<usize> {
        self.search(self.with(share, |s| s.index), Some(share), range)
    }

    fn range(&self, share: usize) -> Range {
        self.with(share, |s| s.range)
    }

    fn child(&self, share: usize) -> usize {
        self.with(share, |s| s.ctx)
    }

    fn set_child(&self, share: usize, ctx: usize) {
        self.with(share, |s| s.ctx = ctx);
    }

    fn sibling(&self, share: usize) -> Option<usize> {
        self.with(share, |s| s.sibling)
    }

    fn set_sibling(&self, share: usize, next: Option<usize>) {
        self.with(share, |s| s.sibling = next);
    }
}
