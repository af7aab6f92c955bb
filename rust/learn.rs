// SPDX-License-Identifier: GPL-2.0

//! Learning where children no longer are.
//!
//! A page of a parent is looked for in all its children, even in those that unmapped it long ago. A
//! walk that finds nothing in a child learns the *hole* that it looked into: neither the child nor
//! whoever is forked from it will ever map a page there that it inherited. Later walks pass it by.
//!
//! A parent that forks with [`Shares::LEARN_FROM`] children has an *index*. The children that nothing was
//! learned about stay in the chain of siblings as before, and are visited one after the other.
//! Behind them in the chain, and found through the index, are the *learned* ones: each has a few
//! *shares*, ranges of page offsets that it may still have in common with its parent. The index
//! keeps those of all learned children, ordered for look-up by range.
//!
//! Like the family tree this is plain Rust without kernel or `unsafe`; `proof/learn/` tests it.
//!
//! # Why a hole is one for ever
//!
//! Page table entries for a page that a process did not fault in itself come from fork alone. Who
//! may map a page of somebody else's anchor at some page offset, and does not, will not; nor will
//! those that are forked from it. This needs five conditions:
//!
//! * *The fork is over*: the child has all entries that it gets. [`gap`] locks the child's address
//!   space, which its fork has locked from before the child is visible until all is copied.
//! * *The child has no children*: there is nobody else who may have inherited the page from it.
//!   Those that it will have inherit what it has.
//! * *Nothing moved*: the hole has no page offset of a VMA that is found by other means than its
//!   address, see [`gap`].
//! * *The child cannot fault in pages of that anchor*: a hole is used only by walks whose anchor is
//!   in use by its holder, see [`knows`].
//! * *Who takes the place of a child takes over no more holes than are true for it*, see
//!   [`replace`].
//!
//! # Locking
//!
//! The family lock, read by walks, keeps contexts and indexes. A walk counts as *inside* an index
//! from when it comes to the first child to visit, which it finds with the index locked, until it is
//! done with the last one; not if there is only one, and that a learned one: then it need not find
//! its way on. Holes are learned under the lock of the index, while no other walk is inside: nobody's
//! position is lost. It is not worth waiting for. With the family lock held for write, nobody is
//! inside.

use crate::family::{
    self,
    Forest, //
};
use core::cell::Cell;

/// Page offsets, both inclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Range {
    const ALL: Self = Self {
        first: 0,
        last: usize::MAX,
    };

    fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// What a context has besides its [`family::Node`](crate::family::Node).
pub(crate) struct Node<I: Copy, S: Copy> {
    /// The index of its children.
    index: Cell<Option<I>>,
    /// What it may share with its parent, in ascending order and disjoint, if it is learned.
    shares: Cell<Option<S>>,
}

impl<I: Copy, S: Copy> Node<I, S> {
    /// Of a context that is in no family.
    pub(crate) const fn new() -> Self {
        Self {
            index: Cell::new(None),
            shares: Cell::new(None),
        }
    }
}

/// Where indexes and shares are.
pub(crate) trait Shares: Forest {
    /// Names an index.
    type Index: Copy;
    /// Names a share.
    type Share: Copy + Eq;

    /// With this many children a context gets an index when it forks once more.
    const LEARN_FROM: usize;
    /// More shares than this a child does not get: a walk goes through them to find its position.
    const MAX_SHARES: u16;

    /// What a context has for learning.
    fn learner(&self, ctx: Self::Ctx) -> &Node<Self::Index, Self::Share>;

    /// Makes an empty index for the children of a context, without waiting for memory.
    fn alloc_index(&self, ctx: Self::Ctx) -> Option<Self::Index>;
    /// Frees an index without shares.
    fn free_index(&self, index: Self::Index);
    /// The first learned child in the chain.
    fn first_learned(&self, index: Self::Index) -> &Cell<Option<Self::Ctx>>;
    /// How many walks are inside; protected by the lock of the index.
    fn walks(&self, index: Self::Index) -> &Cell<u32>;
    /// Calls `f` with the index locked.
    fn locked<R>(&self, index: Self::Index, f: impl FnOnce() -> R) -> R;
    /// It was learned that a child has a hole.
    fn learned(&self, of: Self::Ctx, hole: Range);

    /// Makes a share of a child and puts it into the index, without waiting for memory.
    fn insert(&self, index: Self::Index, of: Self::Ctx, range: Range) -> Option<Self::Share>;
    /// Takes a share out and frees it.
    fn remove(&self, index: Self::Index, share: Self::Share);
    /// Changes the range of a share.
    fn resize(&self, index: Self::Index, share: Self::Share, range: Range);
    /// The first share in the index that overlaps a range.
    fn first_share(&self, index: Self::Index, range: Range) -> Option<Self::Share>;
    /// The next one.
    fn next_share(&self, share: Self::Share, range: Range) -> Option<Self::Share>;
    /// The range of a share.
    fn range(&self, share: Self::Share) -> Range;
    /// The child that it is of.
    fn child(&self, share: Self::Share) -> Self::Ctx;
    /// Sets what [`Shares::child`] returns.
    fn set_child(&self, share: Self::Share, ctx: Self::Ctx);
    /// The next one of the child.
    fn sibling(&self, share: Self::Share) -> Option<Self::Share>;
    /// Sets what [`Shares::sibling`] returns.
    fn set_sibling(&self, share: Self::Share, next: Option<Self::Share>);
}

/// A walk.
pub(crate) struct Walk<C> {
    /// Where it began.
    pub(crate) top: C,
    /// What it looks for, if it may pass by children that are known to have nothing there.
    pub(crate) range: Option<Range>,
    /// The only child to visit of the first context that has only one: the walk is not inside the
    /// index of that. `None` if this value does not last for the whole walk.
    pub(crate) only: Option<Cell<Option<C>>>,
}

impl<C: Copy + PartialEq> Walk<C> {
    fn is_only(&self, ctx: C) -> bool {
        self.only
            .as_ref()
            .is_some_and(|only| only.get() == Some(ctx))
    }
}

/// What [`gap`] asks a process, under its member lock.
pub(crate) trait Member {
    /// Locks the address space for read if that needs no waiting.
    fn try_lock(&self) -> bool;
    /// Unlocks it.
    fn unlock(&self);
    /// The VMA, or the space between two, where the page offset is an address. `None` if that VMA
    /// is one that a look-up accepts.
    fn look_up(&self, pgoff: usize) -> Option<Range>;
    /// Page offsets of a VMA with a chain, of those that overlap the range the one that begins first.
    fn displaced(&self, range: Range) -> Option<Range>;
    /// Whether there are VMAs that left the tree before their page table entries.
    fn has_detached(&self) -> bool;
}

/// The hole that a walk of `range` looked into. `None` if it cannot tell.
///
/// The address space is locked: its fork is over, and no VMA comes, goes or moves meanwhile. So the
/// VMAs that may have entries with a page offset of the hole are those that a look-up by address
/// accepts, of which there is none, and displaced and detached ones. Of the former, whose page
/// offsets have nothing to do with their addresses, the hole is cut clear; the latter are soon gone,
/// and another walk may learn then.
pub(crate) fn gap<M: Member>(member: &M, range: Range) -> Option<Range> {
    /// Displaced VMAs to look at. Most processes have one: their stack, moved by exec.
    const MAX_DISPLACED: usize = 8;

    if !member.try_lock() {
        return None;
    }
    let mut hole = member
        .look_up(range.first)
        .filter(|hole| hole.first <= range.first && hole.last >= range.last)
        .filter(|_| !member.has_detached());
    for nr in 0.. {
        let Some(now) = hole else { break };
        let Some(vma) = member.displaced(now) else {
            break;
        };
        hole = if nr == MAX_DISPLACED || vma.overlaps(range) {
            None
        } else if vma.last < range.first {
            Some(Range {
                first: vma.last + 1,
                ..now
            })
        } else {
            Some(Range {
                last: vma.first - 1,
                ..now
            })
        };
    }
    member.unlock();
    hole
}

/// Whether walks from an anchor may use what was learned: its holder uses it, and lives.
///
/// All whose holes such a walk meets were forked while the holder used the anchor, and it uses it
/// still. Nobody else did meanwhile, so they have no page of it but by fork. That is not so for the
/// root, and for an anchor that was, or may have been, lent to one of them.
pub(crate) fn knows<F: Shares>(f: &F, anchor: F::Anchor) -> bool {
    f.holder(anchor)
        .is_some_and(|holder| !f.node(holder).dead.get() && f.anchor(holder) == anchor)
}

/// Whether a walk that is in `ctx` could learn from it: `ctx` has no children, its parent an index,
/// and the walk came from there.
pub(crate) fn can_learn<F: Shares>(f: &F, top: F::Ctx, ctx: F::Ctx) -> bool {
    let node = f.node(ctx);

    // Whoever has an index has, or had, many children: others may be moving them.
    ctx != top
        && f.learner(ctx).index.get().is_none()
        && node.first_child.get().is_none()
        && node
            .parent
            .get()
            .is_some_and(|parent| f.learner(parent).index.get().is_some())
}

/// A context is about to be forked from `parent`.
///
/// Context: family lock held for write.
pub(crate) fn prepare<F: Shares>(f: &F, parent: F::Ctx) {
    let index = &f.learner(parent).index;
    if index.get().is_some() {
        return;
    }
    let mut pos = f.node(parent).first_child.get();
    for _ in 1..F::LEARN_FROM {
        pos = pos.and_then(|ctx| f.node(ctx).next.get());
    }
    if pos.is_some() {
        index.set(f.alloc_index(parent));
    }
}

/// A context leaves the family; its only child takes its place, if it has one.
///
/// The child is below the context: all holes of the context are holes of the child, which could
/// know more, but not less. What the context learned about the child goes with its index.
///
/// Context: family lock held for write, the links still as they were.
pub(crate) fn replace<F: Shares>(f: &F, ctx: F::Ctx, with: Option<F::Ctx>) {
    let node = f.learner(ctx);

    if let (Some(with), Some(index)) = (with, node.index.get()) {
        forget(f, index, with);
    }
    if let Some(index) = node.index.take() {
        f.free_index(index);
    }
    let links = f.node(ctx);
    if !links.learned.get() {
        return;
    }
    let parent = links.parent.get();
    let Some(index) = parent.and_then(|parent| f.learner(parent).index.get()) else {
        return;
    };
    let first = f.first_learned(index);
    if first.get() == Some(ctx) {
        first.set(with.or(links.next.get()));
    }
    let Some(with) = with else {
        forget(f, index, ctx);
        return;
    };
    f.node(with).learned.set(true);
    f.node(with).nr_shares.set(links.nr_shares.get());
    f.learner(with).shares.set(node.shares.get());
    let mut pos = node.shares.get();
    while let Some(share) = pos {
        f.set_child(share, with);
        pos = f.sibling(share);
    }
}

/// Frees the shares of a child.
fn forget<F: Shares>(f: &F, index: F::Index, ctx: F::Ctx) {
    let mut pos = f.learner(ctx).shares.take();
    while let Some(share) = pos {
        pos = f.sibling(share);
        f.remove(index, share);
    }
    f.node(ctx).nr_shares.set(0);
    f.node(ctx).learned.set(false);
}

/// The first share of a child that overlaps the range.
fn share_of<F: Shares>(f: &F, ctx: F::Ctx, range: Range) -> Option<F::Share> {
    let mut pos = f.learner(ctx).shares.get();
    while let Some(share) = pos {
        if f.range(share).overlaps(range) {
            break;
        }
        pos = f.sibling(share);
    }
    pos
}

/// The share, or the first one after it that is its child's first in the range.
fn learned<F: Shares>(f: &F, mut share: Option<F::Share>, range: Range) -> Option<F::Share> {
    while let Some(s) = share {
        // Shares do not overlap: a page is in one at most.
        if range.first == range.last || share_of(f, f.child(s), range) == share {
            break;
        }
        share = f.next_share(s, range);
    }
    share
}

/// The range, if `next` in the chain is learned: from there on children are found by their shares.
fn by_shares<F: Shares>(f: &F, next: Option<F::Ctx>, range: Option<Range>) -> Option<Range> {
    range.filter(|_| next.is_some_and(|ctx| f.node(ctx).learned.get()))
}

/// The first child of a context to visit.
#[inline(never)]
fn first_child<F: Shares>(f: &F, walk: &Walk<F::Ctx>, ctx: F::Ctx) -> Option<F::Ctx> {
    let Some(index) = f.learner(ctx).index.get() else {
        return f.node(ctx).first_child.get();
    };
    f.locked(index, || {
        let mut first = f.node(ctx).first_child.get();
        if let Some(range) = by_shares(f, first, walk.range) {
            let share = learned(f, f.first_share(index, range), range)?;
            first = Some(f.child(share));
            // There is no way on that others could change.
            if let Some(only) = walk.only.as_ref().filter(|only| only.get().is_none()) {
                if learned(f, f.next_share(share, range), range).is_none() {
                    only.set(first);
                    return first;
                }
            }
        }
        if first.is_some() {
            f.walks(index).update(|walks| walks + 1);
        }
        first
    })
}

/// The next child to visit after `ctx`.
fn next_child<F: Shares>(
    f: &F,
    index: F::Index,
    ctx: F::Ctx,
    range: Option<Range>,
) -> Option<F::Ctx> {
    let share = if let Some(range) = by_shares(f, Some(ctx), range) {
        // It was found by a share, and nobody changed its shares since.
        let share = share_of(f, ctx, range)?;
        learned(f, f.next_share(share, range), range)
    } else {
        let next = f.node(ctx).next.get();
        let Some(range) = by_shares(f, next, range) else {
            return next;
        };
        learned(f, f.first_share(index, range), range)
    };
    share.map(|share| f.child(share))
}

/// The context to visit after `ctx`, as [`family::next`]. Children that are known to have nothing
/// there are left out, and a hole found in `ctx` is learned.
///
/// Context: family lock held. After the last context, or [`end`], the walk is inside no index.
#[inline(always)]
pub(crate) fn next<F: Shares>(
    f: &F,
    walk: &Walk<F::Ctx>,
    ctx: F::Ctx,
    hole: Option<Range>,
) -> Option<F::Ctx> {
    // The usual steps, in few instructions.
    if ctx == walk.top {
        return first_child(f, walk, ctx);
    }
    let node = f.node(ctx);
    let plain = |ctx| !f.node(ctx).learned.get();
    if hole.is_none() && f.learner(ctx).index.get().is_none() && node.first_child.get().is_none() {
        // From a child to another one, if nothing is known of either: they are neighbours in the
        // chain, whether there is an index or not.
        let next = node.next.get().filter(|_| plain(ctx));
        if next.is_some_and(plain) {
            return next;
        }
        if walk.is_only(ctx) && node.parent.get() == Some(walk.top) {
            return None;
        }
    }
    next_of_all(f, walk, ctx, hole)
}

/// [`next`], whatever there is.
#[inline(never)]
fn next_of_all<F: Shares>(
    f: &F,
    walk: &Walk<F::Ctx>,
    ctx: F::Ctx,
    hole: Option<Range>,
) -> Option<F::Ctx> {
    let after = |parent, child| {
        let Some(index) = f.learner(parent).index.get() else {
            return f.node(child).next.get();
        };
        let outside = walk.is_only(child);
        let next = match outside {
            true => None,
            false => next_child(f, index, child, walk.range),
        };
        let hole = hole.filter(|_| child == ctx);
        if hole.is_some() || (next.is_none() && !outside) {
            f.locked(index, || {
                if let Some(hole) = hole.filter(|_| f.walks(index).get() == u32::from(!outside)) {
                    learn(f, index, child, hole);
                }
                if next.is_none() && !outside {
                    leave(f, index);
                }
            });
        }
        next
    };
    family::next(f, walk.top, ctx, |ctx| first_child(f, walk, ctx), after)
}

/// A walk leaves an index.
///
/// Context: index locked.
fn leave<F: Shares>(f: &F, index: F::Index) {
    f.walks(index).update(|walks| walks - 1);
}

/// Ends a walk that has come to `ctx`.
///
/// Context: family lock held.
pub(crate) fn end<F: Shares>(f: &F, walk: &Walk<F::Ctx>, mut ctx: F::Ctx) {
    while ctx != walk.top {
        let Some(parent) = f.node(ctx).parent.get() else {
            return;
        };
        let inside = !walk.is_only(ctx);
        if let Some(index) = f.learner(parent).index.get().filter(|_| inside) {
            f.locked(index, || leave(f, index));
        }
        ctx = parent;
    }
}

/// Learns that a child has a hole.
#[inline(never)]
fn learn<F: Shares>(f: &F, index: F::Index, ctx: F::Ctx, hole: Range) {
    let (node, links) = (f.learner(ctx), f.node(ctx));

    if !links.learned.get() {
        // All of it or nothing: whoever learns is done with the child, and must not meet it again.
        let mut shares = None;
        let mut nr_shares = 0;
        let after = (hole.last < usize::MAX).then(|| Range {
            first: hole.last + 1,
            ..Range::ALL
        });
        let before = (hole.first > 0).then(|| Range {
            last: hole.first - 1,
            ..Range::ALL
        });
        for range in [after, before].into_iter().flatten() {
            let Some(share) = f.insert(index, ctx, range) else {
                if let Some(share) = shares {
                    f.remove(index, share);
                }
                return;
            };
            f.set_sibling(share, shares);
            shares = Some(share);
            nr_shares += 1;
        }
        node.shares.set(shares);
        links.nr_shares.set(nr_shares);
        links.learned.set(true);
        to_learned(f, index, ctx);
        f.learned(ctx, hole);
        return;
    }

    let mut new = false;
    let mut prev = None;
    let mut pos = node.shares.get();
    while let Some(share) = pos {
        let next = f.sibling(share);
        let range = f.range(share);
        new |= range.overlaps(hole);
        let before = Range {
            last: hole.first.wrapping_sub(1),
            ..range
        };
        let after = Range {
            first: hole.last.wrapping_add(1),
            ..range
        };
        prev = match (range.first < hole.first, range.last > hole.last) {
            _ if !range.overlaps(hole) => pos,
            (false, false) => {
                match prev {
                    Some(prev) => f.set_sibling(prev, next),
                    None => node.shares.set(next),
                }
                f.remove(index, share);
                links.nr_shares.set(links.nr_shares.get() - 1);
                prev
            }
            (false, true) => {
                f.resize(index, share, after);
                pos
            }
            (true, false) => {
                f.resize(index, share, before);
                pos
            }
            (true, true) => {
                let room = links.nr_shares.get() < F::MAX_SHARES;
                match room.then(|| f.insert(index, ctx, after)).flatten() {
                    Some(second) => {
                        f.set_sibling(second, next);
                        f.set_sibling(share, Some(second));
                        f.resize(index, share, before);
                        links.nr_shares.set(links.nr_shares.get() + 1);
                    }
                    None => new = false,
                }
                pos
            }
        };
        pos = next;
    }
    if new {
        f.learned(ctx, hole);
    }
}

/// Moves a child to the learned ones in the chain, as the first of them.
fn to_learned<F: Shares>(f: &F, index: F::Index, ctx: F::Ctx) {
    let node = f.node(ctx);
    let (prev, next) = (node.prev.get(), node.next.get());
    let after = f.first_learned(index).replace(Some(ctx));

    let before = match after {
        Some(after) => f.node(after).prev.get(),
        // The first one ever: it becomes the last of all.
        None => {
            let mut last = ctx;
            while let Some(next) = f.node(last).next.get() {
                last = next;
            }
            Some(last)
        }
    };
    if before == Some(ctx) {
        return;
    }
    let parent = node.parent.get().map(|parent| f.node(parent));
    match (prev, parent) {
        (Some(prev), _) => f.node(prev).next.set(next),
        (None, Some(parent)) => parent.first_child.set(next),
        (None, None) => {}
    }
    if let Some(next) = next {
        f.node(next).prev.set(prev);
    }
    // There is one before: at least what was next to `ctx`.
    if let Some(before) = before {
        f.node(before).next.set(Some(ctx));
    }
    if let Some(after) = after {
        f.node(after).prev.set(Some(ctx));
    }
    node.prev.set(before);
    node.next.set(after);
}
