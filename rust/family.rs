// SPDX-License-Identifier: GPL-2.0

//! The family tree: which contexts there are, who was forked from whom, and which context's
//! subtree a walk from an anchor has to visit.
//!
//! Plain Rust without any kernel dependency and without `unsafe`: `proof/family/` compiles the same
//! file on the host and compares it with a brute-force model. Objects are named by handles; a
//! [`Forest`] says where their links are.
//!
//! # Locking
//!
//! Every function that changes something needs the family lock for write, [`next`] and [`summary`]
//! need it for read. None of them allocates or sleeps. The order of siblings may also change while
//! the lock is held for read, see `learn.rs`.
//!
//! # Invariants
//!
//! * *Cover*: the holder of an anchor is the context that uses the anchor, or one of its ancestors.
//!   So whoever may map a folio that points at the anchor is in the subtree of the holder: the user
//!   and all that were forked from it, directly or not, while it used the anchor.
//! * *Bound*: a dead context has at least two children, so there are fewer dead contexts than living
//!   ones. A new anchor is made only if no context above the new one has [`LEND_FROM`] spare ones.
//!   The number of anchors that a context and those above it hold never changes, so it is bounded
//!   by how many processes of the family lived at a time, however many came and went.

use core::cell::Cell;

/// With this many spare anchors a context lends one to a new context below it.
///
/// Not the first one: a borrowed anchor covers all that is below the lender, which costs its walks a
/// visit each. Only a context that inherited several anchors, from a row of processes that forked
/// and went away, lends.
pub(crate) const LEND_FROM: usize = 4;

/// The links of a context.
pub(crate) struct Node<C: Copy, A: Copy> {
    pub(crate) parent: Cell<Option<C>>,
    pub(crate) first_child: Cell<Option<C>>,
    pub(crate) next: Cell<Option<C>>,
    pub(crate) prev: Cell<Option<C>>,
    /// The last of the anchors that it holds, which are a ring: first the spare ones, that no context
    /// uses any more, then those in use, the root of the family among them.
    held: Cell<Option<A>>,
    nr_spare: Cell<u32>,
    pub(crate) dead: Cell<bool>,
    /// Something was learned about it, and how many shares it has: for `learn.rs`, here to save room.
    pub(crate) learned: Cell<bool>,
    pub(crate) nr_shares: Cell<u16>,
}

impl<C: Copy, A: Copy> Node<C, A> {
    /// The links of a context that is in no family.
    pub(crate) const fn new() -> Self {
        Self {
            parent: Cell::new(None),
            first_child: Cell::new(None),
            next: Cell::new(None),
            prev: Cell::new(None),
            held: Cell::new(None),
            nr_spare: Cell::new(0),
            dead: Cell::new(false),
            learned: Cell::new(false),
            nr_shares: Cell::new(0),
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
    /// The next anchor in the ring or list that the anchor is in.
    fn next_anchor(&self, anchor: Self::Anchor) -> Option<Self::Anchor>;
    /// Sets what [`Forest::next_anchor`] returns.
    fn set_next_anchor(&self, anchor: Self::Anchor, next: Option<Self::Anchor>);
    /// A context is about to be taken out; its only child takes its place, if it has one.
    fn replace(&self, _ctx: Self::Ctx, _with: Option<Self::Ctx>) {}
}

/// What [`leave`] took out of the family, for the caller to free.
pub(crate) struct Freed<C, A> {
    /// The context taken out last, which is the one that donated.
    pub(crate) ctx: Option<C>,
    anchor: Option<A>,
    /// Contexts taken out.
    pub(crate) contexts: usize,
    /// Anchors that changed their holder.
    pub(crate) donated: usize,
    /// The context that lost a child or inherited: it may be a leaf now, see [`is_leaf`].
    pub(crate) heir: Option<C>,
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

/// Adds an anchor to those that a context holds.
fn push<F: Forest>(f: &F, ctx: F::Ctx, anchor: F::Anchor, spare: bool) {
    let node = f.node(ctx);
    match node.held.get() {
        Some(last) => {
            f.set_next_anchor(anchor, f.next_anchor(last));
            f.set_next_anchor(last, Some(anchor));
            if !spare {
                node.held.set(Some(anchor));
            }
        }
        None => {
            f.set_next_anchor(anchor, Some(anchor));
            node.held.set(Some(anchor));
        }
    }
    node.nr_spare.set(node.nr_spare.get() + u32::from(spare));
}

/// Takes the anchor behind another one out of a ring, but does not count it.
fn take<F: Forest>(f: &F, node: &Node<F::Ctx, F::Anchor>, prev: F::Anchor) -> Option<F::Anchor> {
    let anchor = f.next_anchor(prev)?;
    if anchor == prev {
        node.held.set(None);
        return Some(anchor);
    }
    f.set_next_anchor(prev, f.next_anchor(anchor));
    if node.held.get() == Some(anchor) {
        node.held.set(Some(prev));
    }
    Some(anchor)
}

/// Takes out the first one, likewise.
fn pop<F: Forest>(f: &F, node: &Node<F::Ctx, F::Anchor>) -> Option<F::Anchor> {
    take(f, node, node.held.get()?)
}

/// The anchors that a context holds, from the last one on.
fn held<F: Forest>(f: &F, ctx: F::Ctx) -> impl Iterator<Item = F::Anchor> + '_ {
    let last = f.node(ctx).held.get();
    core::iter::successors(last, move |anchor| {
        f.next_anchor(*anchor).filter(|next| Some(*next) != last)
    })
}

fn hold<F: Forest>(f: &F, ctx: F::Ctx, anchor: F::Anchor) {
    f.set_holder(anchor, Some(ctx));
    push(f, ctx, anchor, false);
}

/// Takes a context out of its parent's children; `with` takes its place, if given.
fn unlink<F: Forest>(f: &F, ctx: F::Ctx, with: Option<F::Ctx>) {
    f.replace(ctx, with);
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

/// Makes a family of one context, without a root.
pub(crate) fn found<F: Forest>(f: &F, ctx: F::Ctx) {
    hold(f, ctx, f.anchor(ctx));
}

/// Gives a new family a root, before anybody [`join`]s it. Whichever context is the first holds it.
pub(crate) fn add_root<F: Forest>(f: &F, ctx: F::Ctx, root: F::Anchor) {
    hold(f, ctx, root);
}

/// Links a new context below `parent`. Its anchor is its own, unless it is [`borrow`]ed.
pub(crate) fn join<F: Forest>(f: &F, parent: F::Ctx, ctx: F::Ctx) {
    let anchor = f.anchor(ctx);
    let node = f.node(ctx);
    if f.holder(anchor).is_none() {
        hold(f, ctx, anchor);
    }

    let siblings = &f.node(parent).first_child;
    node.parent.set(Some(parent));
    node.next.set(siblings.get());
    if let Some(next) = siblings.get() {
        f.node(next).prev.set(Some(ctx));
    }
    siblings.set(Some(ctx));
}

/// Lends a spare anchor to the child that is about to [`join`] `parent`: one of the nearest context
/// above the child that has enough of them. It may be dead, and the anchor the one that it used:
/// walks do not enter it any more.
///
/// The holder stays who it was, and never becomes the borrower as such: folios of the former user's
/// children may still point at the anchor.
pub(crate) fn borrow<F: Forest>(f: &F, parent: F::Ctx) -> Option<F::Anchor> {
    let mut pos = Some(parent);
    while let Some(ctx) = pos {
        let node = f.node(ctx);
        if node.nr_spare.get() as usize >= LEND_FROM {
            // The first one becomes the last.
            let anchor = f.next_anchor(node.held.get()?)?;
            node.held.set(Some(anchor));
            node.nr_spare.set(node.nr_spare.get() - 1);
            return Some(anchor);
        }
        pos = node.parent.get();
    }
    None
}

/// Hands all anchors of a context with a single child to that child, whose subtree is the same.
fn donate<F: Forest>(f: &F, from: F::Ctx, to: F::Ctx) -> usize {
    let node = f.node(from);
    let mut donated = 0;
    while let Some(anchor) = pop(f, node) {
        f.set_holder(anchor, Some(to));
        push(f, to, anchor, donated < node.nr_spare.get());
        donated += 1;
    }
    donated as usize
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
        heir: None,
    };

    f.node(ctx).dead.set(true);
    let anchor = f.anchor(ctx);
    if let Some(holder) = f.holder(anchor) {
        if let Some(prev) = held(f, holder).find(|a| f.next_anchor(*a) == Some(anchor)) {
            take(f, f.node(holder), prev);
        }
        push(f, holder, anchor, true);
    }

    let mut pos = Some(ctx);
    while let Some(ctx) = pos {
        let node = f.node(ctx);
        if !node.dead.get() {
            freed.heir = Some(ctx);
            break;
        }
        let first = node.first_child.get();
        match first {
            None => {
                unlink(f, ctx, None);
                while let Some(anchor) = pop(f, node) {
                    f.set_holder(anchor, None);
                    f.set_next_anchor(anchor, freed.anchor);
                    freed.anchor = Some(anchor);
                }
                pos = node.parent.get();
            }
            Some(only) if f.node(only).next.get().is_none() => {
                freed.donated += donate(f, ctx, only);
                unlink(f, ctx, Some(only));
                freed.heir = Some(only);
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

/// Whether the folios of the anchor that a living context uses are mapped nowhere else: it has no
/// children, and holds the anchor itself.
pub(crate) fn is_leaf<F: Forest>(f: &F, ctx: F::Ctx) -> bool {
    let node = f.node(ctx);
    !node.dead.get() && node.first_child.get().is_none() && f.holder(f.anchor(ctx)) == Some(ctx)
}

/// Whether a context or an ancestor of it holds an anchor that `is` says is the one.
pub(crate) fn holds<F: Forest>(f: &F, ctx: F::Ctx, is: impl Fn(F::Anchor) -> bool) -> bool {
    let mut pos = Some(ctx);
    while let Some(ctx) = pos {
        if held(f, ctx).any(&is) {
            return true;
        }
        pos = f.node(ctx).parent.get();
    }
    false
}

/// Whether nobody else is in the family of a living context: no page of it is mapped elsewhere.
pub(crate) fn is_alone<F: Forest>(f: &F, ctx: F::Ctx) -> bool {
    let node = f.node(ctx);
    !node.dead.get() && node.parent.get().is_none() && node.first_child.get().is_none()
}

/// Makes a list of the ring of anchors that a context holds, if it [`is_alone`], and returns the first.
/// Then [`part`] has to follow, or the end of the context, before anything else looks at the ring.
pub(crate) fn gather<F: Forest>(f: &F, ctx: F::Ctx) -> Option<F::Anchor> {
    if !is_alone(f, ctx) {
        return None;
    }
    let last = f.node(ctx).held.get()?;
    let first = f.next_anchor(last);
    f.set_next_anchor(last, None);
    first
}

/// Undoes [`gather`], which returned `first`.
pub(crate) fn part<F: Forest>(f: &F, ctx: F::Ctx, first: F::Anchor) {
    if let Some(last) = f.node(ctx).held.get() {
        f.set_next_anchor(last, Some(first));
    }
}

/// What there is to tell of a context.
pub(crate) struct Summary<C> {
    pub(crate) parent: Option<C>,
    pub(crate) dead: bool,
    /// See [`is_alone`].
    pub(crate) alone: bool,
    /// Held anchors in use, the root of the family among them.
    pub(crate) used: usize,
    /// Held anchors that no context uses any more.
    pub(crate) spare: usize,
}

/// Describes a context. Needs the family lock for read.
pub(crate) fn summary<F: Forest>(f: &F, ctx: F::Ctx) -> Summary<F::Ctx> {
    let node = f.node(ctx);
    let spare = node.nr_spare.get() as usize;
    Summary {
        parent: node.parent.get(),
        dead: node.dead.get(),
        alone: is_alone(f, ctx),
        used: held(f, ctx).count() - spare,
        spare,
    }
}

/// The context to visit after `ctx` in the subtree of `top`: parents come before children. `first`
/// says which child to visit first, `after` which one after another, as its parent has it.
pub(crate) fn next<F: Forest>(
    f: &F,
    top: F::Ctx,
    ctx: F::Ctx,
    first: impl Fn(F::Ctx) -> Option<F::Ctx>,
    after: impl Fn(F::Ctx, F::Ctx) -> Option<F::Ctx>,
) -> Option<F::Ctx> {
    let child = first(ctx);
    if child.is_some() {
        return child;
    }
    let mut ctx = ctx;
    while ctx != top {
        let parent = f.node(ctx).parent.get()?;
        let next = after(parent, ctx);
        if next.is_some() {
            return next;
        }
        ctx = parent;
    }
    None
}
