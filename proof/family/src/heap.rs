// SPDX-License-Identifier: GPL-2.0

//! Contexts and anchors as the module has them: objects of their own, handled by pointers, freed as
//! soon as the family tree lets go of them.
//!
//! A handle has a number besides, and whatever the tree does with the handle of a freed object
//! fails. AddressSanitizer or Miri see the rest: a reference to a node that outlives it.

use crate::family::{Forest, Node};
use std::cell::Cell;
use std::ptr::NonNull;

pub(crate) struct Object<T> {
    pub(crate) id: u32,
    ptr: NonNull<T>,
}

impl<T> Clone for Object<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Object<T> {}

impl<T> PartialEq for Object<T> {
    fn eq(&self, other: &Self) -> bool {
        self.ptr == other.ptr
    }
}

impl<T> Eq for Object<T> {}

pub(crate) struct Context {
    anchor: Anchor,
    node: Node<Ctx, Anchor>,
}

pub(crate) struct AnonVma {
    holder: Cell<Option<Ctx>>,
    next: Cell<Option<Anchor>>,
}

pub(crate) type Ctx = Object<Context>;
pub(crate) type Anchor = Object<AnonVma>;

/// All objects of a type ever made, by number; `None` once they are freed.
struct Slab<T>(Vec<Option<NonNull<T>>>);

impl<T> Slab<T> {
    fn alloc(&mut self, value: T) -> Object<T> {
        let ptr = NonNull::from(Box::leak(Box::new(value)));
        self.0.push(Some(ptr));
        Object {
            id: (self.0.len() - 1) as u32,
            ptr,
        }
    }

    fn get(&self, object: Object<T>) -> &T {
        assert!(self.0[object.id as usize].is_some(), "use after free");
        // SAFETY: It came from `alloc()`, and `free()` was not called for it.
        unsafe { object.ptr.as_ref() }
    }

    fn free(&mut self, object: Object<T>) {
        let ptr = self.0[object.id as usize].take().expect("freed twice");
        // SAFETY: It came from `alloc()`, and is freed once.
        drop(unsafe { Box::from_raw(ptr.as_ptr()) });
    }
}

impl<T> Drop for Slab<T> {
    fn drop(&mut self) {
        for ptr in self.0.iter().flatten() {
            // SAFETY: It came from `alloc()` and is not freed.
            drop(unsafe { Box::from_raw(ptr.as_ptr()) });
        }
    }
}

pub(crate) struct Heap {
    ctxs: Slab<Context>,
    anchors: Slab<AnonVma>,
}

impl Heap {
    pub(crate) fn new() -> Self {
        Self {
            ctxs: Slab(Vec::new()),
            anchors: Slab(Vec::new()),
        }
    }

    pub(crate) fn add_ctx(&mut self, anchor: Anchor) -> Ctx {
        self.ctxs.alloc(Context {
            anchor,
            node: Node::new(),
        })
    }

    pub(crate) fn add_anchor(&mut self) -> Anchor {
        self.anchors.alloc(AnonVma {
            holder: Cell::new(None),
            next: Cell::new(None),
        })
    }

    pub(crate) fn has_ctx(&self, ctx: Ctx) -> bool {
        self.ctxs.0[ctx.id as usize].is_some()
    }

    pub(crate) fn free_ctx(&mut self, ctx: Ctx) {
        self.ctxs.free(ctx);
    }

    pub(crate) fn free_anchor(&mut self, anchor: Anchor) {
        self.anchors.free(anchor);
    }
}

impl Forest for Heap {
    type Ctx = Ctx;
    type Anchor = Anchor;

    fn node(&self, ctx: Ctx) -> &Node<Ctx, Anchor> {
        &self.ctxs.get(ctx).node
    }

    fn anchor(&self, ctx: Ctx) -> Anchor {
        self.ctxs.get(ctx).anchor
    }

    fn holder(&self, anchor: Anchor) -> Option<Ctx> {
        self.anchors.get(anchor).holder.get()
    }

    fn set_holder(&self, anchor: Anchor, ctx: Option<Ctx>) {
        self.anchors.get(anchor).holder.set(ctx);
    }

    fn next_anchor(&self, anchor: Anchor) -> Option<Anchor> {
        self.anchors.get(anchor).next.get()
    }

    fn set_next_anchor(&self, anchor: Anchor, next: Option<Anchor>) {
        self.anchors.get(anchor).next.set(next);
    }
}
