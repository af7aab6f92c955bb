// SPDX-License-Identifier: GPL-2.0

//! The family tree: which contexts there are, who was forked from whom, and which context's
//! subtree a walk from an anchor has to visit.
//!
//! Plain Rust without any kernel dependency and without `unsafe`: the same file is tested on the
//! host against a brute-force model. Objects are named by handles; a [`Forest`] says where their
//! links are.
//!
//! # Locking
//!
//! Every function that changes something needs the family lock for write, [`next`] needs it for
//! read. None of them allocates or sleeps.
//!
//! # Invariants
//!
//! * *Cover*: the holder of an anchor is the context that uses the anchor, or one of its ancestors.
//!   So whoever may map a folio that points at the anchor is in the subtree of the holder: the user
//!   and all that were forked from it, directly or not, while it used the anchor.
//! * *Bound*: a dead context has at least two children. So there are fewer dead contexts than
//!   living ones, and each context holds at most a constant number of anchors per context that was
//!   spliced out above it and is not [`borrow`]ed again.

use core::cell::Cell;

/// With this many spare anchors a context lends one to a new child.
///
/// Not the first one: a borrowed anchor covers the siblings of the child as well, which costs its
/// walks a visit each. Only a process that inherited several anchors, one in a row of processes
/// that forked and went away, lends.
pub(crate) const LEND_FROM: usize = 4;

/// The links of a context.
pub(crate) struct Node<C: Copy, A: Copy> {
    parent: Cell<Option<C>>,
    first_child: Cell<Option<C>>,
    next: Cell<Option<C>>,
    prev: Cell<Option<C>>,
    /// Held anchors that a context uses, and the root of the family.
    used: Cell<Option<A>>,
    /// Held anchors that no context uses any more.
    spare: Cell<Option<A>>,
    nr_spare: Cell<u32>,
    dead: Cell<bool>,
}

impl<C: Copy, A: Copy> Node<C, A> {
    /// The links of a context that is in no family.
    pub(crate) const fn new() -> Self {
        Self {
            parent: Cell::new(None),
            first_child: Cell::new(None),
            next: Cell::new(None),
            prev: Cell::new(None),
            used: Cell::new(None),
            spare: Cell::new(None),
            nr_spare: Cell::new(0),
            dead: Cell::new(false),
        }
    }
}

/// Where contexts and anchors keep their links.
pub(crate) trait Forest {
    /// Names a context.
    type Ctx: Copy + Eq;
    /// Names an anchor.
    type Anchor: Copy + Eq;

    /// The links of a context.
    fn node(&self, ctx: Self::Ctx) -> &Node<Self::Ctx, Self::Anchor>;
    /// The anchor that a context uses.
    fn anchor(&self, ctx: Self::Ctx) -> Self::Anchor;
    /// The context whose subtree a walk from the anchor visits; `None` once there is none.
    fn holder(&self, anchor: Self::Anchor) -> Option<Self::Ctx>;
    /// Sets what [`Forest::holder`] returns.
    fn set_holder(&self, anchor: Self::Anchor, ctx: Option<Self::Ctx>);
    /// The next anchor in the list that the anchor is in.
    fn next_anchor(&self, anchor: Self::Anchor) -> Option<Self::Anchor>;
    /// Sets what [`Forest::next_anchor`] returns.
    fn set_next_anchor(&self, anchor: Self::Anchor, next: Option<Self::Anchor>);
}

/// What [`leave`] took out of the family, for the caller to free.
pub(crate) struct Freed<C, A> {
    ctx: Option<C>,
    anchor: Option<A>,
    /// Contexts taken out.
    pub(crate) contexts: usize,
    /// Anchors that changed their holder.
    pub(crate) donated: usize,
}

impl<C: Copy, A: Copy> Freed<C, A> {
    /// Takes the next context, which nothing refers to any more.
    pub(crate) fn pop_ctx<F: Forest<Ctx = C, Anchor = A>>(&mut self, forest: &F) -> Option<C> {
        let ctx = self.ctx?;
        self.ctx = forest.node(ctx).next.get();
        Some(ctx)
    }

    /// Takes the next anchor, from which walks visit nothing any more.
    pub(crate) fn pop_anchor<F: Forest<Ctx = C, Anchor = A>>(&mut self, forest: &F) -> Option<A> {
        let anchor = self.anchor?;
        self.anchor = forest.next_anchor(anchor);
        Some(anchor)
    }
}

fn push<F: Forest>(f: &F, list: &Cell<Option<F::Anchor>>, anchor: F::Anchor) {
    f.set_next_anchor(anchor, list.get());
    list.set(Some(anchor));
}

fn pop<F: Forest>(f: &F, list: &Cell<Option<F::Anchor>>) -> Option<F::Anchor> {
    let anchor = list.get()?;
    list.set(f.next_anchor(anchor));
    Some(anchor)
}

fn remove<F: Forest>(f: &F, list: &Cell<Option<F::Anchor>>, anchor: F::Anchor) {
    if list.get() == Some(anchor) {
        list.set(f.next_anchor(anchor));
        return;
    }
    let mut pos = list.get();
    while let Some(a) = pos {
        pos = f.next_anchor(a);
        if pos == Some(anchor) {
            f.set_next_anchor(a, f.next_anchor(anchor));
            return;
        }
    }
}

/// Takes a context out of its parent's children; `with` takes its place, if given.
fn unlink<F: Forest>(f: &F, ctx: F::Ctx, with: Option<F::Ctx>) {
    let node = f.node(ctx);
    let (parent, prev, next) = (node.parent.get(), node.prev.get(), node.next.get());
    let (before, after) = match with {
        Some(with) => {
            let node = f.node(with);
            node.parent.set(parent);
            node.prev.set(prev);
            node.next.set(next);
            (Some(with), Some(with))
        }
        None => (prev, next),
    };
    match (prev, parent) {
        (Some(prev), _) => f.node(prev).next.set(after),
        (None, Some(parent)) => f.node(parent).first_child.set(after),
        (None, None) => {}
    }
    if let Some(next) = next {
        f.node(next).prev.set(before);
    }
}

/// Makes a family of one context. `root` is held by whichever context is the first.
pub(crate) fn found<F: Forest>(f: &F, ctx: F::Ctx, root: F::Anchor) {
    let anchor = f.anchor(ctx);
    for a in [root, anchor] {
        f.set_holder(a, Some(ctx));
        push(f, &f.node(ctx).used, a);
    }
}

/// Links a new context below `parent`. Its anchor is its own, unless it is [`borrow`]ed.
pub(crate) fn join<F: Forest>(f: &F, parent: F::Ctx, ctx: F::Ctx) {
    let anchor = f.anchor(ctx);
    let node = f.node(ctx);
    if f.holder(anchor).is_none() {
        f.set_holder(anchor, Some(ctx));
        push(f, &node.used, anchor);
    }

    let siblings = &f.node(parent).first_child;
    node.parent.set(Some(parent));
    node.next.set(siblings.get());
    if let Some(next) = siblings.get() {
        f.node(next).prev.set(Some(ctx));
    }
    siblings.set(Some(ctx));
}

/// Lends a spare anchor of `parent` to the child that is about to [`join`] it.
///
/// The holder stays who it was, and never becomes the borrower as such: folios of the former user's
/// children may still point at the anchor.
pub(crate) fn borrow<F: Forest>(f: &F, parent: F::Ctx) -> Option<F::Anchor> {
    let node = f.node(parent);
    if (node.nr_spare.get() as usize) < LEND_FROM {
        return None;
    }
    let anchor = pop(f, &node.spare)?;
    node.nr_spare.set(node.nr_spare.get() - 1);
    push(f, &node.used, anchor);
    Some(anchor)
}

/// Hands all anchors of a context with a single child to that child, whose subtree is the same.
fn donate<F: Forest>(f: &F, from: F::Ctx, to: F::Ctx) -> usize {
    let (from, heir) = (f.node(from), f.node(to));
    let mut donated = 0;
    for (src, dst) in [(&from.used, &heir.used), (&from.spare, &heir.spare)] {
        while let Some(anchor) = pop(f, src) {
            f.set_holder(anchor, Some(to));
            push(f, dst, anchor);
            donated += 1;
        }
    }
    heir.nr_spare.set(heir.nr_spare.get() + from.nr_spare.get());
    donated
}

/// The address space of a context is gone.
///
/// The context stays as long as it has two children or more: folios that they map may point at its
/// anchors. With a single child the child inherits, without any it goes, and so does an ancestor
/// that only stayed for it.
pub(crate) fn leave<F: Forest>(f: &F, ctx: F::Ctx) -> Freed<F::Ctx, F::Anchor> {
    let mut freed = Freed {
        ctx: None,
        anchor: None,
        contexts: 0,
        donated: 0,
    };

    f.node(ctx).dead.set(true);
    let anchor = f.anchor(ctx);
    if let Some(holder) = f.holder(anchor) {
        let node = f.node(holder);
        remove(f, &node.used, anchor);
        push(f, &node.spare, anchor);
        node.nr_spare.set(node.nr_spare.get() + 1);
    }

    let mut pos = Some(ctx);
    while let Some(ctx) = pos {
        let node = f.node(ctx);
        if !node.dead.get() {
            break;
        }
        let first = node.first_child.get();
        match first {
            None => {
                unlink(f, ctx, None);
                for list in [&node.used, &node.spare] {
                    while let Some(anchor) = pop(f, list) {
                        f.set_holder(anchor, None);
                        f.set_next_anchor(anchor, freed.anchor);
                        freed.anchor = Some(anchor);
                    }
                }
                pos = node.parent.get();
            }
            Some(only) if f.node(only).next.get().is_none() => {
                freed.donated += donate(f, ctx, only);
                unlink(f, ctx, Some(only));
                pos = None;
            }
            Some(_) => break,
        }
        node.next.set(freed.ctx);
        freed.ctx = Some(ctx);
        freed.contexts += 1;
    }
    freed
}

/// Whether a context or an ancestor of it holds an anchor that `is` says is the one.
pub(crate) fn holds<F: Forest>(f: &F, ctx: F::Ctx, is: impl Fn(F::Anchor) -> bool) -> bool {
    let mut pos = Some(ctx);
    while let Some(ctx) = pos {
        let node = f.node(ctx);
        for list in [&node.used, &node.spare] {
            let mut anchor = list.get();
            while let Some(a) = anchor {
                if is(a) {
                    return true;
                }
                anchor = f.next_anchor(a);
            }
        }
        pos = node.parent.get();
    }
    false
}

/// The context to visit after `ctx` in the subtree of `top`: parents come before children.
pub(crate) fn next<F: Forest>(f: &F, top: F::Ctx, ctx: F::Ctx) -> Option<F::Ctx> {
    let first_child = f.node(ctx).first_child.get();
    if first_child.is_some() {
        return first_child;
    }
    let mut ctx = ctx;
    while ctx != top {
        let node = f.node(ctx);
        if node.next.get().is_some() {
            return node.next.get();
        }
        ctx = node.parent.get()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[derive(Default)]
    struct Anchor {
        holder: Cell<Option<usize>>,
        next: Cell<Option<usize>>,
    }

    /// Everything ever allocated; indices are handles.
    #[derive(Default)]
    struct World {
        ctxs: Vec<(usize, Node<usize, usize>)>,
        anchors: Vec<Anchor>,
        freed_ctxs: BTreeSet<usize>,
        freed_anchors: BTreeSet<usize>,
        living: Vec<usize>,
        /// The model: for each anchor, who may map folios that point at it.
        mappers: BTreeMap<usize, BTreeSet<usize>>,
        root: usize,
    }

    impl Forest for World {
        type Ctx = usize;
        type Anchor = usize;
        fn node(&self, ctx: usize) -> &Node<usize, usize> {
            assert!(!self.freed_ctxs.contains(&ctx), "use of a freed context");
            &self.ctxs[ctx].1
        }
        fn anchor(&self, ctx: usize) -> usize {
            self.ctxs[ctx].0
        }
        fn holder(&self, a: usize) -> Option<usize> {
            assert!(!self.freed_anchors.contains(&a), "use of a freed anchor");
            self.anchors[a].holder.get()
        }
        fn set_holder(&self, a: usize, ctx: Option<usize>) {
            self.anchors[a].holder.set(ctx);
        }
        fn next_anchor(&self, a: usize) -> Option<usize> {
            self.anchors[a].next.get()
        }
        fn set_next_anchor(&self, a: usize, next: Option<usize>) {
            self.anchors[a].next.set(next);
        }
    }

    impl World {
        fn new() -> Self {
            let mut w = Self::default();
            w.root = w.add_anchor();
            let anchor = w.add_anchor();
            let ctx = w.add_ctx(anchor);
            found(&w, ctx, w.root);
            w.mappers.insert(anchor, [ctx].into());
            w.mappers.insert(w.root, [ctx].into());
            w
        }

        fn add_anchor(&mut self) -> usize {
            self.anchors.push(Anchor::default());
            self.anchors.len() - 1
        }

        fn add_ctx(&mut self, anchor: usize) -> usize {
            self.ctxs.push((anchor, Node::new()));
            self.living.push(self.ctxs.len() - 1);
            self.ctxs.len() - 1
        }

        fn fork(&mut self, parent: usize) -> usize {
            let anchor = borrow(self, parent).unwrap_or_else(|| self.add_anchor());
            let ctx = self.add_ctx(anchor);
            join(self, parent, ctx);
            // Whatever the parent maps, the child maps now.
            for set in self.mappers.values_mut().filter(|s| s.contains(&parent)) {
                set.insert(ctx);
            }
            self.mappers.entry(anchor).or_default().insert(ctx);
            ctx
        }

        fn exit(&mut self, ctx: usize) {
            let mut freed = leave(self, ctx);
            self.living.retain(|&c| c != ctx);
            for set in self.mappers.values_mut() {
                set.remove(&ctx);
            }
            while let Some(a) = freed.pop_anchor(self) {
                assert!(self.mappers[&a].is_empty(), "anchor {a} freed while in use");
                assert!(self.freed_anchors.insert(a), "anchor {a} freed twice");
            }
            while let Some(c) = freed.pop_ctx(self) {
                assert!(self.freed_ctxs.insert(c), "context {c} freed twice");
            }
        }

        fn walk(&self, anchor: usize) -> Vec<usize> {
            let Some(top) = self.holder(anchor) else {
                return Vec::new();
            };
            let mut order = Vec::new();
            let mut pos = Some(top);
            while let Some(ctx) = pos {
                order.push(ctx);
                pos = next(self, top, ctx);
            }
            order
        }

        fn check(&self) {
            for (&anchor, mappers) in &self.mappers {
                if self.freed_anchors.contains(&anchor) {
                    continue;
                }
                let order = self.walk(anchor);
                let visited: BTreeSet<_> = order.iter().copied().collect();
                assert_eq!(visited.len(), order.len(), "a context is visited twice");
                assert!(
                    visited.is_superset(mappers),
                    "anchor {anchor} misses a context"
                );
                // Seen from below it is the same.
                for &ctx in &self.living {
                    let held = holds(self, ctx, |a| a == anchor);
                    assert_eq!(
                        held,
                        visited.contains(&ctx),
                        "anchor {anchor}, context {ctx}"
                    );
                }
            }
            let all = if self.living.is_empty() {
                Vec::new()
            } else {
                self.walk(self.root)
            };
            for (i, &ctx) in all.iter().enumerate() {
                let node = self.node(ctx);
                if let Some(parent) = node.parent.get() {
                    let before = all.iter().position(|&c| c == parent);
                    assert!(
                        before.is_some_and(|p| p < i),
                        "a child comes before its parent"
                    );
                }
                let mut children = 0;
                let mut child = node.first_child.get();
                while let Some(c) = child {
                    children += 1;
                    child = self.node(c).next.get();
                }
                assert!(!node.dead.get() || children >= 2, "a needless dead context");
            }
            let dead = all.len() - self.living.len();
            assert!(
                all.is_empty() || dead < self.living.len(),
                "too many dead contexts"
            );
            assert_eq!(
                self.ctxs.len() - self.freed_ctxs.len(),
                all.len(),
                "a context leaked"
            );
            if self.living.is_empty() {
                assert_eq!(
                    self.anchors.len(),
                    self.freed_anchors.len(),
                    "an anchor leaked"
                );
            }
        }
    }

    /// xorshift64*: seeded, so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % n
        }
    }

    #[test]
    fn every_history_of_few_events() {
        fn go(history: &mut Vec<(bool, usize)>, depth: usize) {
            let mut w = World::new();
            for &(fork, i) in history.iter() {
                let ctx = w.living[i];
                if fork {
                    w.fork(ctx);
                } else {
                    w.exit(ctx);
                }
                w.check();
            }
            if depth == 0 {
                return;
            }
            for i in 0..w.living.len() {
                for fork in [true, false] {
                    if fork && w.living.len() == 4 {
                        continue;
                    }
                    history.push((fork, i));
                    go(history, depth - 1);
                    history.pop();
                }
            }
        }
        go(&mut Vec::new(), 7);
    }

    #[test]
    fn random_histories_against_the_model() {
        for seed in 1..=300u64 {
            println!("seed {seed}");
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut w = World::new();
            for _ in 0..120 {
                if w.living.is_empty() {
                    break;
                }
                let ctx = w.living[random.below(w.living.len())];
                if random.below(100) < 52 {
                    w.fork(ctx);
                } else {
                    w.exit(ctx);
                }
                w.check();
            }
            while let Some(&ctx) = w.living.first() {
                w.exit(ctx);
                w.check();
            }
        }
    }

    #[test]
    fn fork_then_parent_exits_is_bounded() {
        let mut w = World::new();
        let mut ctx = 0;
        for _ in 0..2000 {
            let child = w.fork(ctx);
            w.exit(ctx);
            ctx = child;
            let anchors = w.anchors.len() - w.freed_anchors.len();
            assert!(anchors <= LEND_FROM + 3, "{anchors} anchors");
        }
        w.check();
        w.exit(ctx);
        w.check();
    }

    #[test]
    fn a_first_worker_does_not_borrow() {
        let mut w = World::new();
        let child = w.fork(0);
        w.exit(0);
        let worker = w.fork(child);
        assert_eq!(w.walk(w.anchor(worker)), [worker]);
    }
}
