/* SPDX-License-Identifier: GPL-2.0 */
/*
 * walk.pml: the reverse-mapping walk against everything that changes what it looks at.
 *
 * One anonymous folio of one page, three or four processes, two places per process, one of which is
 * the address that folio->index says. The walker migrates the folio: a first walk makes migration
 * entries, a second one makes them present again. Or it splits a THP, which is the same with the
 * family lock held for write throughout; or it reclaims the folio in one walk. Each step below is
 * one access that another CPU can see, in the order of the code, under the locks of the code; the
 * comments name the function. Spin runs all interleavings.
 *
 *	spin -a -DS_FORK walk.pml	a scenario, see "Scenarios" at the end
 *	spin -a -DS_FORK -DLINK_AFTER_COPY walk.pml	the same with a rule broken: must fail
 *
 * ./run does so for all of them. What is asserted:
 *
 *  - The first walk leaves no present entry, the second no migration entry, in any process.
 *  - Nobody uses a VMA, context, anchor or tree after it was freed, or before it can be trusted.
 *  - A walk is only given VMAs that contain the folio's index, each one once per process.
 *  - At each unlock of a member lock a lazy VMA has a chain if and only if it is displaced.
 *  - At the end nothing is leaked, and (spin's own check) nobody is stuck.
 *
 * Page table locks are leaves: nothing is locked under them. What happens under one is atomic here,
 * but for the first fault, which others may see half done.
 */

#ifdef S_BORROW_DEAD
#define NMM	4		/* processes: 0 is the parent of all */
#define LEND
#else
#define NMM	3
#endif
#ifdef S_BORROW
#define LEND
#endif
#define NP	2		/* places */
#define NV	6		/* memory for VMAs */
#define NA	6		/* anchors (as many as NV): 0-2 of the contexts, and: */
#define SPARE	3		/* of a process that is gone */
#define ROOT	4		/* of the family, unless it is alone */
#define NONE	15

#define FREE	0		/* state of a VMA's memory */
#define LIVE	1
#define UNMAPPED 2		/* its page tables are freed */

#define PRESENT	1		/* page table entries, else 0 */
#define MIG	2

#define RCU	1		/* state of a VMA tree: for RCU readers, */
#define NO_RCU	2		/* for readers with a lock, */
#define GONE	0		/* freed with its mm_struct */

typedef vma_t {
	byte st;
	bit gp;			/* FREE, but an RCU reader still keeps the memory a VMA's */
	byte mm;
	byte anchor;		/* vma->anon_vma */
	byte place;		/* vma->vm_start */
	byte pgoff;		/* vma_start_anon_pgoff() */
	byte avc;		/* anon_vma_chain: on the tree of this anchor, */
	byte list;		/* in context->detached of this context */
	bit nocopy;		/* VM_DONTCOPY */
	bit wipe		/* VM_WIPEONFORK */
};

typedef anchor_t {
	bit live;
	bit gp;
	byte ref;
	byte root;
	byte holder;		/* anon_vma->lazy */
	bit spare;		/* held, but used by no context */
	bit leaf;		/* lazy_state: its process shares no folio with others, */
	byte hint;		/* and the VMA that a walk found last */
	byte readers;		/* anon_vma->rwsem */
	bit writer;
	byte waiting		/* writers; new readers queue behind them */
};

typedef ctx_t {
	bit live;
	bit dead;
	byte anchor;
	byte mm;
	byte parent;
	byte first;
	byte next;
	byte prev
};

typedef mm_t {
	byte ctx;		/* mm->anon_vma_lazy */
	byte tree;		/* state */
	byte at[NP];		/* mm->mm_mt */
	byte pte[NP];
	bit reader;		/* somebody is in a node of the tree */
	bit ptl;		/* page table locks */
	byte readers;		/* mmap_lock */
	bit writer
};

vma_t vma[NV];
anchor_t av[NA];
ctx_t ctx[NMM];
mm_t mm[NMM];

bit folio_lock;
byte mapping = NONE;		/* folio->mapping */
byte index;			/* folio->index */
byte mapcount;
bit lru;			/* others can find the folio */
bit rcu;			/* the walker is in an RCU read-side critical section */
byte faults;			/* S_FAULT: threads that are done */
byte t;			/* for loops in one step */

/* ---- Locks ---- */

#define down_read(a) \
	atomic { !av[a].writer && !av[a].waiting -> assert(av[a].live); av[a].readers++ }
#define up_read(a) \
	atomic { assert(av[a].live && av[a].readers); av[a].readers-- }
#define down_write(a) \
	atomic { assert(av[a].live); av[a].waiting++ }; \
	atomic { !av[a].writer && !av[a].readers -> \
		 assert(av[a].live); av[a].writer = 1; av[a].waiting-- }
#define up_write(a) \
	atomic { assert(av[a].live && av[a].writer); av[a].writer = 0 }

#define mmap_read_lock(p)	atomic { !mm[p].writer -> mm[p].readers++ }
#define mmap_read_unlock(p)	mm[p].readers--
#define mmap_write_lock(p)	atomic { !mm[p].writer && !mm[p].readers -> mm[p].writer = 1 }
#define mmap_write_unlock(p)	mm[p].writer = 0
#define mmap_write_downgrade(p)	d_step { mm[p].writer = 0; mm[p].readers++ }

/* anon_vma_walk_owner(): whose lock a walk from this anchor takes */
#define walk_lock(a)	(av[a].leaf -> a : av[a].root)

#define displaced(v)	(vma[v].pgoff != vma[v].place)
#define readable(v)	(vma[v].st != FREE || vma[v].gp)

/* The lock that anon_vma_lock_vma_write() takes is the member lock. */
#ifdef KEEP_HINT
#define member_lock(a)	down_write(a)
#else
#define member_lock(a)	down_write(a); av[a].hint = NONE
#endif

inline member_unlock(a)
{
	d_step {
		t = 0;
		do
		:: t < NV ->
			/* A lazy VMA has a chain if and only if it is displaced. */
			assert(!(vma[t].st == LIVE && vma[t].anchor == a) ||
			       displaced(t) == (vma[t].avc != NONE));
			t++
		:: else -> break
		od;
		t = 0
	};
	up_write(a)
}

/* What was freed while the walker was in the section may go back to the page allocator now. */
inline rcu_read_unlock()
{
	d_step {
		rcu = 0;
		t = 0;
		do
		:: t < NV -> vma[t].gp = 0; t++
		:: else -> break
		od;
		t = 0;
		do
		:: t < NA -> av[t].gp = 0; t++
		:: else -> break
		od;
		t = 0
	}
}

/* ---- Anchors ---- */

/* anon_vma_free(): waits for who locked the root of an anchor that it is not going to use */
#ifdef FREE_UNSYNCED
#define in_use(r)	false
#else
#define in_use(r)	(av[r].readers || av[r].writer || av[r].waiting)
#endif
#define anon_vma_free(a) \
	if \
	:: in_use(av[a].root) -> \
		down_write(av[a].root); \
		up_write(av[a].root) \
	:: else \
	fi; \
	atomic { assert(av[a].live && !av[a].ref); av[a].live = 0; av[a].gp = rcu }

/* __put_anon_vma(), of an anchor */
inline __put_anon_vma(a)
{
	anon_vma_free(a);
	if
	:: av[a].root != a ->
		if
		:: atomic { av[av[a].root].ref == 1 -> av[av[a].root].ref = 0 };
			anon_vma_free(av[a].root)
		:: atomic {
			av[av[a].root].ref != 1 ->
			assert(av[av[a].root].ref);
			av[av[a].root].ref--
		   }
		fi
	:: else
	fi
}

/* put_anon_vma() */
inline put_anon_vma(a)
{
	assert(av[a].live);
	if
	:: atomic { av[a].ref == 1 -> av[a].ref = 0 };
		__put_anon_vma(a)
	:: atomic { av[a].ref != 1 -> assert(av[a].ref); av[a].ref-- }
	fi
}

/* anon_vma_lazy_alloc() */
inline anon_vma_lazy_alloc(a, r)
{
	d_step {
		assert(!av[a].live);
		av[a].live = 1; av[a].ref = 1; av[a].root = r;
		av[a].holder = NONE; av[a].spare = 0; av[a].leaf = 0; av[a].hint = NONE;
		if
		:: a != r -> assert(av[r].live); av[r].ref++
		:: else
		fi
	}
}

/* ---- VMAs ---- */

/* vm_area_alloc(): any free memory, what was in it may still be looked at. */
inline vm_area_alloc(v)
{
	atomic {
		if
		:: vma[0].st == FREE -> v = 0
		:: vma[1].st == FREE -> v = 1
		:: vma[2].st == FREE -> v = 2
		:: vma[3].st == FREE -> v = 3
		:: vma[4].st == FREE -> v = 4
		:: vma[5].st == FREE -> v = 5
		fi;
		vma[v].st = LIVE; vma[v].gp = 0
	}
}

/* vm_area_dup(), vm_area_init_from() */
inline vm_area_dup(new, src)
{
	vm_area_alloc(new);
	vma[new].mm = vma[src].mm;
	d_step {
		vma[new].place = vma[src].place;
		vma[new].pgoff = vma[src].pgoff;
		vma[new].nocopy = vma[src].nocopy;
		vma[new].wipe = vma[src].wipe;
		vma[new].avc = NONE;
		vma[new].list = NONE
	};
#ifdef DUP_COPIES_ANCHOR
	vma[new].anchor = vma[src].anchor
#else
	vma[new].anchor = NONE
#endif
}

/* vm_area_free(): reusable at once, SLAB_TYPESAFE_BY_RCU */
#define vm_area_free(v) \
	atomic { assert(vma[v].st != FREE); vma[v].st = FREE; vma[v].gp = rcu }

/* anon_vma_lazy_link(); src: whose copy it is */
inline anon_vma_lazy_link(new, src, a)
{
#ifdef ANCHOR_BEFORE_CHAIN
	vma[new].anchor = a;
#endif
	if
#if defined NO_CHAIN
	:: false ->
#elif defined CHAIN_BY_SOURCE
	:: displaced(src) ->
#else
	:: displaced(new) ->
#endif
		/* anon_vma_lazy_displace() */
		member_lock(a);
		vma[new].avc = a;
		member_unlock(a)
	:: else
	fi;
	vma[new].anchor = a		/* smp_store_release() */
}

/* unlink_anon_vmas(), anon_vma_lazy_unlink() */
inline unlink_anon_vmas(v)
{
	if
	:: vma[v].anchor != NONE ->
		a = vma[v].anchor;
		assert(mm[vma[v].mm].ctx != NONE && ctx[mm[vma[v].mm].ctx].live);
		x = ctx[mm[vma[v].mm].ctx].mm;
#ifdef UNLINK_UNLOCKED
		x = NONE;
#endif
		if
		:: x != NONE -> member_lock(a)
		:: else
		fi;
		if
		:: displaced(v) ->
			d_step { assert(av[a].live && vma[v].avc == a); vma[v].avc = NONE }
		:: else -> assert(vma[v].avc == NONE)
		fi;
#ifndef UNLINK_KEEPS_ANCHOR
		vma[v].anchor = NONE;
#endif
		if
		:: x != NONE -> member_unlock(a)
		:: else
		fi
	:: else
	fi
}

/* unmap_unlink_anon_vmas() */
inline unlink_detached(v)
{
	if
	:: vma[v].anchor != NONE && vma[v].avc == NONE ->
#ifndef DETACHED_KEEPS_ANCHOR
		vma[v].anchor = NONE
#else
		skip
#endif
	:: else -> unlink_anon_vmas(v)
	fi
}

/* zap_pte_range(), under the page table lock; needs no folio lock */
#define zap(p, pl) \
	atomic { !mm[p].ptl -> \
		mapcount = mapcount - (mm[p].pte[pl] == PRESENT); mm[p].pte[pl] = 0 }

/* A displaced VMA is found by its chain only. */
#ifdef DETACHED_DISPLACED
#define DETACHED_NATURAL(v)
#else
#define DETACHED_NATURAL(v)	&& vma[v].avc == NONE
#endif

/* A store that replaces or frees a node of the tree. */
#define tree_changes(p)	assert(mm[p].tree == RCU || !mm[p].reader)

/* ---- The family tree: family.rs, context.rs ---- */

#ifdef NO_FAMILY_LOCK
#define family_lock(r)
#define family_unlock(r)
#else
#define family_lock(r) \
	av[r].ref++; down_write(r)	/* Family::lock() */
#define family_unlock(r) \
	up_write(r); put_anon_vma(r)	/* Family::drop() */
#endif

/* family::join() */
inline join(parent_, c)
{
	if
	:: av[ctx[c].anchor].holder == NONE -> av[ctx[c].anchor].holder = c
	:: else
	fi;
	ctx[c].parent = parent_;
	y = ctx[parent_].first;
	ctx[c].next = y;
	if
	:: y != NONE -> assert(ctx[y].live); ctx[y].prev = c
	:: else
	fi;
	ctx[parent_].first = c
}

/* family::unlink() */
inline unlink(c, with)
{
	d_step {
		y = NONE; z = NONE;
		if
		:: with != NONE ->
			ctx[with].parent = ctx[c].parent;
			ctx[with].prev = ctx[c].prev;
			ctx[with].next = ctx[c].next;
			y = with; z = with
		:: else -> y = ctx[c].prev; z = ctx[c].next
		fi
	};
	if
	:: ctx[c].prev != NONE ->
		assert(ctx[ctx[c].prev].live);
		ctx[ctx[c].prev].next = z
	:: ctx[c].prev == NONE && ctx[c].parent != NONE ->
		assert(ctx[ctx[c].parent].live);
		ctx[ctx[c].parent].first = z
	:: else
	fi;
	if
	:: ctx[c].next != NONE ->
		assert(ctx[ctx[c].next].live);
		ctx[ctx[c].next].prev = y
	:: else
	fi
}

/* context::sever() */
inline sever(c)
{
#ifdef SEVER_UNLOCKED
	ctx[c].mm = NONE;
	av[ctx[c].anchor].leaf = 0
#else
	a = ctx[c].anchor;
	member_lock(a);
	ctx[c].mm = NONE;
#ifndef SEVER_KEEPS_LEAF
	av[a].leaf = 0;
#endif
	member_unlock(a)
#endif
}

/* context::leave(); the anchors and contexts that it frees, as sets */
inline leave(c)
{
	if
	:: ctx[c].mm != NONE -> sever(c)
	:: else
	fi;
	r = av[ctx[c].anchor].root;
	family_lock(r);
	leave_family(c);
	if
	:: heir != NONE && !ctx[heir].dead && ctx[heir].first == NONE &&
	   av[ctx[heir].anchor].holder == heir ->
		a = ctx[heir].anchor;
		member_lock(a);
#ifdef SEVERED_IS_LEAF
		av[a].leaf = 1;
#else
		av[a].leaf = (ctx[heir].mm != NONE);
#endif
		member_unlock(a)
	:: else
	fi;
#ifndef PUT_UNDER_LOCK
	family_unlock(r);
#endif
	/* release() */
	x = 0;
	do
	:: x < NA && !(free_av & (1 << x)) -> x++
	:: x < NA && (free_av & (1 << x)) -> put_anon_vma(x); x++
	:: x == NA -> break
	od;
#ifdef PUT_UNDER_LOCK
	family_unlock(r);
#endif
	atomic {
		t = 0;
		do
		:: t < NMM ->
			assert(ctx[t].live || !(free_ctx & (1 << t)));
			ctx[t].live = ctx[t].live && !(free_ctx & (1 << t));
			t++
		:: else -> break
		od;
		t = 0; x = 0; r = 0; free_av = 0; free_ctx = 0; y = 0; z = 0; pos = 0; f = 0; a = 0;
		heir = 0
	}
}

/* family::leave(), family::donate() */
inline leave_family(c)
{
	d_step {
		ctx[c].dead = 1;
		a = ctx[c].anchor;
		if
		:: av[a].holder != NONE -> av[a].spare = 1
		:: else
		fi;
#ifdef BORROWER_KEEPS
		/* A context takes the anchor that it uses along, though it be borrowed. */
		av[a].holder = c;
#endif
		pos = c;
		heir = NONE
	};
	do
	:: pos == NONE || !ctx[pos].dead -> heir = pos; break
	:: else ->
		assert(ctx[pos].live);
		f = ctx[pos].first;
		if
		:: f == NONE ->
			unlink(pos, NONE);
			d_step {
				t = 0;
				do
				:: t < NA && av[t].live && av[t].holder == pos ->
#ifndef KEEP_HOLDER
					av[t].holder = NONE;
#endif
					free_av = free_av | (1 << t);
					t++
				:: t < NA && !(av[t].live && av[t].holder == pos) -> t++
				:: t == NA -> break
				od;
				t = 0;
				free_ctx = free_ctx | (1 << pos);
				pos = ctx[pos].parent
			}
		:: f != NONE ->
#ifdef DONATE_TO_FIRST
			if
			:: true ->
#else
			if
			:: ctx[f].next == NONE ->
#endif
#ifndef DONATE_NOTHING
				d_step {	/* donate() */
					t = 0;
					do
					:: t < NA && av[t].live && av[t].holder == pos ->
						av[t].holder = f;
						t++
					:: t < NA && !(av[t].live && av[t].holder == pos) -> t++
					:: t == NA -> break
					od;
					t = 0
				}
#endif
			:: else
			fi;
			if
			:: ctx[f].next == NONE ->
				unlink(pos, f);
				heir = f;
				free_ctx = free_ctx | (1 << pos)
			:: else
			fi;
			break
		fi
	od
}

/* context::fork(), Ctx::init(), family::borrow(), family::join() */
inline context_fork(p, c)
{
	a = ctx[mm[p].ctx].anchor;
	r = av[a].root;
	if
	:: r == a -> r = ROOT; anon_vma_lazy_alloc(ROOT, ROOT)	/* the first fork */
	:: else
	fi;
	d_step {
		assert(!ctx[c].live);
		ctx[c].live = 1; ctx[c].dead = 0; ctx[c].first = NONE; ctx[c].next = NONE;
		ctx[c].prev = NONE; ctx[c].parent = NONE
	};
	anon_vma_lazy_alloc(c, r);
	family_lock(r);
	d_step {
		ctx[c].anchor = c;
#ifdef LEND			/* borrow(), with LEND_FROM = 1 */
		pos = mm[p].ctx;
		do
		:: pos == NONE || ctx[c].anchor != c -> break
		:: else ->
			t = 0;
			do
			:: t == ROOT -> break
			:: t < ROOT && av[t].live && av[t].holder == pos && av[t].spare ->
				av[t].spare = 0;
				ctx[c].anchor = t;
#ifdef LEND_HANDS_OVER
				av[t].holder = c;
#endif
				break
			:: else -> t++
			od;
			pos = ctx[pos].parent
		od;
		t = 0; pos = 0;
#endif
		ctx[c].mm = c
	};
	/* set_leaf(): not the parent any more, but the child */
	if
	:: av[a].leaf ->
#ifndef ROOT_UNLOCKED
		member_lock(a);
#endif
		if
		:: av[a].root == a ->	/* family::add_root(), anon_vma_lazy_set_root() */
			av[r].holder = mm[p].ctx;
			av[r].ref++;
			av[a].root = r
		:: else
		fi;
#ifdef ROOT_UNLOCKED
		member_lock(a);
#endif
#ifdef UNMARK_UNLOCKED
		member_unlock(a);
		av[a].leaf = 0
#elif defined FORK_KEEPS_LEAF
		member_unlock(a)
#else
		av[a].leaf = 0;
		member_unlock(a)
#endif
	:: else
	fi;
	join(mm[p].ctx, c);
#ifdef BORROWER_IS_LEAF
	av[ctx[c].anchor].leaf = 1;
#else
	av[c].leaf = (ctx[c].anchor == c);
#endif
	family_unlock(r);
	if
	:: ctx[c].anchor != c -> put_anon_vma(c)	/* it borrowed one */
	:: else
	fi;
	mm[c].ctx = c;
	y = 0; r = 0; a = 0
}

/* ---- The walk: walk.rs ---- */

/* family::next() */
inline ctx_next(top, c)
{
	atomic {
		assert(ctx[c].live && ctx[top].live);
#ifdef CHILD_FIRST
		/* Children, then their parent. */
		if
		:: c == top -> c = NONE
		:: c != top && ctx[c].next != NONE ->
			c = ctx[c].next;
			do
			:: ctx[c].first != NONE -> c = ctx[c].first
			:: else -> break
			od
		:: else -> c = ctx[c].parent
		fi
#else
		if
		:: ctx[c].first != NONE -> c = ctx[c].first
		:: else ->
			do
			:: c == top -> c = NONE; break
			:: c != top && ctx[c].next != NONE -> c = ctx[c].next; break
			:: c != top && ctx[c].next == NONE ->
				c = ctx[c].parent;
				if
				:: c == NONE -> break
				:: else -> assert(ctx[c].live)
				fi
			od
		fi
#endif
	}
}

/* try_to_migrate_one(), try_to_unmap_one() or remove_migration_pte(), under the page table lock */
inline rmap_one(v)
{
	atomic {
		!mm[m].ptl ->
		assert(vma[v].st == LIVE);		/* VMA and page tables are there */
		assert(vma[v].mm == m);
		assert(vma[v].pgoff == index);		/* vma_anon_address() */
		assert(!(seen & (1 << v)));
		seen = seen | (1 << v);
		if
		:: !second && mm[m].pte[vma[v].place] == PRESENT ->
			mm[m].pte[vma[v].place] = (reclaim -> 0 : MIG);
			mapcount--
		:: second && mm[m].pte[vma[v].place] == MIG ->
			mm[m].pte[vma[v].place] = PRESENT;
			mapcount++
		:: else
		fi
	}
}

inline count_entries()
{
	d_step {
		t = 0; n = 0;
		do
		:: t < NMM ->
			n = n + (mm[t].pte[0] == (second -> MIG : PRESENT));
			n = n + (mm[t].pte[1] == (second -> MIG : PRESENT));
			t++
		:: else -> break
		od;
		t = 0
	}
}

/* anon_vma_lock_read(), anon_vma_trylock_read() */
inline lock_read(a)
{
	do
	:: leaf = av[a].leaf;
		r = (leaf -> a : av[a].root);	/* of which the mark says nothing any more */
		down_read(r);
		if
		:: r == walk_lock(a) -> break
		:: else -> up_read(r)
		fi
	od
}

proctype walker()
{
	byte c, a, v, m, w, n, seen, anon = NONE, r;
	bit reclaim, split, second, leaf;

	lru || _nr_pr == 2;
	atomic { !folio_lock -> folio_lock = 1 };
	if
	:: reclaim = 1
	:: split = 1
	:: true			/* migrate */
	fi;

#ifndef NO_REFERENCE
	/* migrate_folio_unmap(): folio_get_anon_vma() */
	if
	:: !reclaim ->
		rcu = 1;
		anon = mapping;
		if
		:: anon != NONE && mapcount ->
			atomic {
				assert(av[anon].live || av[anon].gp);
				if
				:: av[anon].ref -> av[anon].ref++
				:: else -> anon = NONE
				fi
			}
		:: else -> anon = NONE
		fi;
		if
		:: anon != NONE && !mapcount ->
			rcu_read_unlock();
			put_anon_vma(anon);
			anon = NONE
		:: else -> rcu_read_unlock()
		fi;
		if
		:: anon == NONE -> goto unlock
		:: else
		fi
	:: else
	fi;
#endif

	/* split_huge_page_to_order(): anon_vma_lock_root_write() */
	if
	:: split ->
		do
		:: r = av[anon].root;
			down_write(r);
			if
#ifdef NO_ROOT_RECHECK
			:: break
#else
			:: r == av[anon].root -> break
			:: else -> up_write(r)
#endif
			fi
		od;
		a = anon;
		goto locked
	:: else
	fi;

	/* folio_lock_anon_vma_read() */
	rcu = 1;
	a = mapping;
	if
	:: a == NONE || !mapcount -> rcu_read_unlock(); goto unlocked
	:: else
	fi;
	d_step { assert(av[a].live || av[a].gp); leaf = av[a].leaf };
	d_step { assert(av[a].live || av[a].gp); r = (leaf -> a : av[a].root); leaf = 0 };
	atomic {
		assert(av[r].live || av[r].gp);
		if
		:: !av[r].writer && !av[r].waiting ->
			av[r].readers++;
			n = 1
		:: else -> n = 2
		fi
	};
	if
	:: n == 1 && mapcount ->
		if
#ifndef NO_LEAF_RECHECK
		:: r != walk_lock(a) ->
			atomic { n = 2; assert(av[r].live || av[r].gp); av[r].readers-- }
		:: r == walk_lock(a) ->
#else
		:: true ->
#endif
			n = 0; rcu_read_unlock(); goto locked
		fi
	:: n == 1 && !mapcount ->
		/* Freed it may be, but not reused for anything else before RCU ends. */
		atomic { n = 0; assert(av[r].live || av[r].gp); av[r].readers-- };
		rcu_read_unlock();
		goto unlocked
	:: n == 2
	fi;
	atomic {
		n = 0;
		assert(av[a].live || av[a].gp);
		if
		:: av[a].ref -> av[a].ref++
		:: else -> rcu_read_unlock(); goto unlocked
		fi
	};
	if
	:: !mapcount -> rcu_read_unlock(); put_anon_vma(a); goto unlocked
	:: else -> rcu_read_unlock()
	fi;
	lock_read(a);
	if
	:: atomic { av[a].ref == 1 -> av[a].ref = 0 };
		up_read(r);
		__put_anon_vma(a);
		goto unlocked
	:: atomic { av[a].ref != 1 -> assert(av[a].ref); av[a].ref-- }
	fi;
	goto locked;

again:
	/* remove_migration_ptes(): rmap_walk_anon_lock() */
	a = mapping;
	assert(av[a].live);
	if
	:: !split -> lock_read(a)
	:: else -> r = av[a].root
	fi;

locked:
	assert(av[a].live);
#ifdef NO_ROOT_TEST
	leaf = !split && av[a].leaf;
#else
	leaf = r == a && av[a].leaf;	/* rmap_walk_anon() */
#endif
	c = av[a].holder;
#ifdef CHILD_FIRST
	atomic {
		do
		:: c != NONE && ctx[c].first != NONE -> c = ctx[c].first
		:: else -> break
		od
	};
#endif
	do
	:: c == NONE -> break
	:: else ->
		/* walk::rmap_walk() */
		assert(ctx[c].live);
#ifndef HINT_OF_DEAD
		if
		:: ctx[c].mm == NONE -> goto advance
		:: else
		fi;
#endif
#ifndef WALK_UNLOCKED
		if
		:: !leaf -> down_read(ctx[c].anchor)
		:: else
		fi;
#endif
		m = ctx[c].mm;

		/* hint() */
		v = av[ctx[c].anchor].hint;
		if
		:: v != NONE && vma[v].place == index ->
			assert(vma[v].mm == ctx[c].mm);
			rmap_one(v);
			goto exit
		:: else
		fi;
		v = 0;

		/* find() */
#ifdef NO_MM_RECHECK
		m = c;
#endif
		if
		:: m == NONE -> goto exit
		:: else
		fi;

		/* Walk::natural(): mas_walk() from the root to the entry */
		rcu = 1;
		d_step { assert(mm[m].tree != GONE); mm[m].reader = 1 };
		d_step { assert(mm[m].tree != GONE); v = mm[m].at[index]; mm[m].reader = 0 };
		if
		:: v != NONE ->
			d_step { assert(readable(v)); w = vma[v].anchor };	/* acquire */
			if
			:: w == ctx[c].anchor ->
				/* accepts() */
				d_step {
					w = 1;
					assert(readable(v));
#ifndef NO_MM_TEST
					w = w && vma[v].mm == m;
#endif
#ifndef NO_CHAIN_TEST
					w = w && vma[v].avc == NONE;
#endif
#ifndef NO_RANGE_TEST
					w = w && vma[v].list == NONE;
#endif
					w = w && vma[v].place == index
				};
				rcu_read_unlock();
				if
				:: w ->
					w = 0;
					rmap_one(v);
					d_step {
						n = NONE;
						t = 0;
						do
						:: t < NV ->
							if
							:: vma[t].list == c ||
							   (vma[t].avc == ctx[c].anchor && vma[t].pgoff == index) ->
								n = 0
							:: else
							fi;
							t++
						:: else -> break
						od;
						t = 0;
#ifdef HINT_AMONG_MANY
						n = NONE;
#endif
						if
						:: n == NONE -> av[ctx[c].anchor].hint = v
						:: else
						fi;
						n = 0
					}
				:: else
				fi
			:: else -> rcu_read_unlock()
			fi
		:: else -> rcu_read_unlock()
		fi;
		v = 0; w = 0;

#ifndef NO_DISPLACED
		/* Walk::displaced() */
		do
		:: d_step {
			v < NV ->
			do
			:: v < NV && !(vma[v].avc == ctx[c].anchor && vma[v].pgoff == index) -> v++
			:: else -> break
			od
		   };
		   if
		   :: v < NV -> rmap_one(v); v++
		   :: else
		   fi
		:: v == NV -> break
		od;
		v = 0;
#endif
#ifndef NO_DETACHED
		/* Walk::detached() */
		do
		:: d_step {
			v < NV ->
			do
			:: v < NV && !(vma[v].list == c && vma[v].place == index &&
				       vma[v].anchor == ctx[c].anchor DETACHED_NATURAL(v)) -> v++
			:: else -> break
			od
		   };
		   if
		   :: v < NV -> rmap_one(v); v++
		   :: else
		   fi
		:: v == NV -> break
		od;
		v = 0;
#endif
exit:
		v = 0;
		assert(ctx[c].live);
#ifndef WALK_UNLOCKED
		if
		:: !leaf -> up_read(ctx[c].anchor)
		:: else
		fi;
#endif
		seen = 0; m = 0;
		if
		:: !second && !mapcount -> break	/* rwc->done: folio_not_mapped() */
		:: leaf -> break
		:: !leaf
		fi;
advance:
		w = av[a].holder;
		ctx_next(w, c);
		w = 0
	od;
	/* anon_vma_unlock_read(), anon_vma_unlock_write() */
	if
	:: !split ->
		assert(r == walk_lock(a));
		up_read(r)
	:: split && second ->
		r = av[a].root;
		up_write(r)
	:: else
	fi;
	c = 0; m = 0; r = 0; leaf = 0;

unlocked:
	a = 0; r = 0;
	/* Every entry existed all along, or is a copy of one that did. */
	count_entries();
	assert(!n);
	if
	:: !second && !reclaim -> second = 1; goto again
	:: else
	fi;

unlock:
	folio_lock = 0;
	if
	:: anon != NONE -> put_anon_vma(anon)
	:: else
	fi
}

/* Another walk, of another folio: what matters is what it locks. */
proctype other_walk()
{
	down_read(ROOT);
	if
	:: av[0].live && av[0].holder == 0 && ctx[0].mm != NONE ->
		down_read(0);
		up_read(0)
	:: else
	fi;
	up_read(ROOT)
}

/* ---- What processes do ---- */

#define LOCALS	byte v, n, a, k, x, y, z, r, f, pos, pl, end, free_av, free_ctx, heir

/* dup_mmap(), and exit_mmap() of the child if it fails. fails: where it may */
inline dup_mmap(p, c, fails)
{
	mmap_write_lock(p);
	d_step {			/* __mt_dup() */
		mm[c].at[0] = mm[p].at[0];
		mm[c].at[1] = mm[p].at[1];
		mm[c].tree = RCU
	};
#ifndef LINK_AFTER_COPY
	if
	:: mm[p].ctx != NONE -> context_fork(p, c)
	:: else
	fi;
#endif
#ifdef NO_CHILD_RCU
	mm[c].tree = NO_RCU;		/* mt_clear_in_rcu() */
#endif
	n = 0;				/* mm->map_count */
	pl = 0;
	do
	:: pl == NP -> break
	:: pl < NP && mm[c].at[pl] == NONE -> pl++
	:: pl < NP && mm[c].at[pl] != NONE && vma[mm[c].at[pl]].nocopy ->
		tree_changes(c);	/* vma_iter_clear_gfp() */
		mm[c].at[pl] = NONE;
		pl++
	:: pl < NP && mm[c].at[pl] != NONE && !vma[mm[c].at[pl]].nocopy ->
		z = mm[c].at[pl];
		vm_area_dup(v, z);
		if
		:: fails -> vm_area_free(v); goto loop_out
		:: true
		fi;
		vma[v].mm = c;
		if
		:: vma[v].wipe ->
			vma[v].anchor = NONE;
#ifndef WIPE_KEEPS_PGOFF
			vma[v].pgoff = vma[v].place
#endif
		:: !vma[v].wipe && vma[mm[p].at[pl]].anchor != NONE ->
#ifdef LINK_AFTER_COPY
			vma[v].anchor = c
#else
			/* anon_vma_fork(); without memory for a chain it fails */
			if
			:: fails && displaced(v) -> vm_area_free(v); goto loop_out
			:: true ->
				z = mm[p].at[pl];
				a = ctx[mm[c].ctx].anchor;
				anon_vma_lazy_link(v, z, a)
			fi
#endif
		:: else
		fi;
		mm[c].at[pl] = v;	/* vma_iter_bulk_store(): in its place */
		n++;
		pl++;
		/* copy_page_range(), under both page table locks */
		if
		:: !vma[v].wipe ->
			atomic {
				!mm[p].ptl && !mm[c].ptl ->
				mm[c].pte[pl - 1] = mm[p].pte[pl - 1];
				mapcount = mapcount + (mm[c].pte[pl - 1] == PRESENT)
			};
#ifdef LINK_AFTER_COPY
			if
			:: !ctx[c].live ->
				context_fork(p, c)
			:: else
			fi;
#endif
			if
			:: fails -> goto loop_out
			:: true
			fi
		:: else
		fi
	od;
	atomic { mm[c].tree = RCU; n = 0; pl = 0; v = 0; x = 0 };
	mmap_write_unlock(p);
	goto forked;

loop_out:
	end = pl;
	if
	:: n ->
#ifdef FORK_SEVER_BEFORE_ZAP
		if
		:: mm[c].ctx != NONE -> k = mm[c].ctx; sever(k)
		:: else
		fi;
#endif
		/* unmap_region(): unmap_vmas(), free_pgtables() */
		zap(c, 0);
		if
		:: end == 2 -> zap(c, 1)
		:: else
		fi;
		pl = 0;
		do
		:: pl == end -> break
		:: pl < end && mm[c].at[pl] == NONE -> pl++
		:: pl < end && mm[c].at[pl] != NONE ->
			v = mm[c].at[pl];
			unlink_anon_vmas(v);
			vma[v].st = UNMAPPED;
			pl++
		od;
#if !defined FORK_SEVER_BEFORE_ZAP && !defined FORK_SEVER_LATE
		if
		:: mm[c].ctx != NONE -> k = mm[c].ctx; sever(k)
		:: else
		fi;
#endif
		/* tear_down_vmas() */
		pl = 0;
		do
		:: pl == end -> break
		:: pl < end && mm[c].at[pl] == NONE -> pl++
		:: pl < end && mm[c].at[pl] != NONE -> v = mm[c].at[pl]; vm_area_free(v); pl++
		od;
#ifdef FORK_SEVER_LATE
		k = mm[c].ctx; sever(k)
#endif
	:: else ->
#ifndef FORK_SEVER_LATE
		if
		:: mm[c].ctx != NONE -> k = mm[c].ctx; sever(k)
		:: else
		fi
#endif
	fi;
	tree_changes(c);		/* __mt_destroy() */
	atomic { mm[c].at[0] = NONE; mm[c].at[1] = NONE; n = 0; pl = 0; v = 0; end = 0; x = 0 };
	mmap_write_unlock(p);
	/* mmput(): exit_mmap() of an mm without VMAs */
	if
	:: mm[c].ctx != NONE -> k = mm[c].ctx; leave(k); mm[c].ctx = NONE
	:: else
	fi;
	mm[c].tree = GONE;
forked:
	skip
}

/* do_vmi_align_munmap(), vms_complete_munmap_vmas(); mmap_lock held for write, then for read */
inline do_munmap(p, place_, fails)
{
	v = mm[p].at[place_];
#if !defined NO_DETACH && !defined DETACH_AFTER_CLEAR
	detach(p, v);
#endif
	if
	:: fails ->			/* vma_iter_clear_gfp() has no memory */
#ifndef NO_REATTACH
		if
		:: a != NONE -> member_lock(a); vma[v].list = NONE; member_unlock(a)
		:: else
		fi;
#endif
		a = 0; v = 0;
		mmap_write_downgrade(p)
	:: true ->
		tree_changes(p);
		mm[p].at[place_] = NONE;
#ifdef DETACH_AFTER_CLEAR
		detach(p, v);
#endif
		mmap_write_downgrade(p);
		/* unmap_region() */
#ifdef HIDE_BEFORE_ZAP
		hide(p, v);
#endif
		zap(p, place_);
#if !defined NO_HIDE && !defined HIDE_BEFORE_ZAP
		hide(p, v);
#endif
#ifdef UNLINK_AFTER_FREE
		vm_area_free(v);
		unlink_detached(v);
#else
		unlink_detached(v);
		vma[v].st = UNMAPPED;
		vm_area_free(v);
#endif
		d_step { v = 0; a = 0; x = 0 }
	fi
}

/* anon_vma_lazy_detach(), after the zap */
inline hide(p, v)
{
	if
	:: vma[v].list != NONE ->
#ifdef HIDE_UNLOCKED
		vma[v].list = NONE
#else
		a = ctx[mm[p].ctx].anchor;
		member_lock(a);
		vma[v].list = NONE;
		member_unlock(a)
#endif
	:: else
	fi
}

/* anon_vma_lazy_detach(), before the tree is cleared */
inline detach(p, v)
{
	a = NONE;
	if
	:: mm[p].ctx != NONE ->
		a = ctx[mm[p].ctx].anchor;
		member_lock(a);
		assert(vma[v].list == NONE);
		vma[v].list = mm[p].ctx;
#ifdef FAMILY_IN_MEMBER
		down_write(ROOT);	/* against the order of locks */
		up_write(ROOT);
#endif
#ifdef FOLIO_IN_MEMBER
		atomic { !folio_lock -> folio_lock = 1 };
		folio_lock = 0;
#endif
		member_unlock(a)
	:: else
	fi
}

/* move_vma(): copy_vma(), move_page_tables(), do_vmi_munmap() of the source */
inline move_vma(p, from, to, fails)
{
	mmap_write_lock(p);
	v = mm[p].at[from];
	/* copy_vma() */
	vm_area_dup(n, v);
#ifdef ANCHOR_BEFORE_RANGE
	vma[n].anchor = vma[v].anchor;
#endif
	vma[n].place = to;		/* vma_set_range() */
	if
	:: vma[v].anchor == NONE -> vma[n].pgoff = to
	:: else
	fi;
	if
	:: fails ->			/* vma_dup_policy() */
		vm_area_free(n);
		n = 0; v = 0;
		mmap_write_unlock(p)
	:: true ->
		if
		:: vma[v].anchor != NONE -> a = vma[v].anchor; anon_vma_lazy_link(n, v, a)
		:: else
		fi;
		mm[p].at[to] = n;	/* vma_link() */
		move_ptes(p, from, to);
		pl = from;
		if
		:: fails ->		/* and back, then the copy is unmapped */
			move_ptes(p, to, from);
			pl = to
		:: true
		fi;
		n = 0;
		do_munmap(p, pl, false);
		pl = 0;
		mmap_read_unlock(p)
	fi
}

/* move_page_tables(), take_rmap_locks(), drop_rmap_locks() */
inline move_ptes(p, from, to)
{
	a = vma[v].anchor;
#ifdef NO_RMAP_LOCKS
	a = NONE;
#endif
	if
	:: a != NONE -> member_lock(a)
	:: else
	fi;
	atomic {
		!mm[p].ptl ->
		mm[p].pte[to] = mm[p].pte[from];
		mm[p].pte[from] = 0
	};
	if
	:: a != NONE -> member_unlock(a)
	:: else
	fi;
	a = 0
}

/* mmap_region() over a mapping: __mmap_setup(), vms_clean_up_area() */
inline mmap_fixed(p, place_)
{
	mmap_write_lock(p);
	v = mm[p].at[place_];
	zap(p, place_);
	unlink_anon_vmas(v);		/* free_pgtables(), in the tree all the time */
	vma[v].st = UNMAPPED;
	vm_area_alloc(n);
	d_step {
		vma[n].mm = p; vma[n].anchor = NONE; vma[n].place = place_; vma[n].pgoff = place_;
		vma[n].avc = NONE; vma[n].list = NONE; vma[n].nocopy = 0; vma[n].wipe = 0
	};
#ifdef FREE_IN_TREE
	vm_area_free(v);
	mm[p].at[place_] = n;
#else
	mm[p].at[place_] = n;		/* vma_iter_store_new() */
	vm_area_free(v);		/* vms_complete_munmap_vmas() */
#endif
	d_step { v = 0; n = 0; a = 0; x = 0 };
	mmap_write_unlock(p)
}

/* exit_mmap() */
inline exit_mmap(p)
{
	mmap_read_lock(p);
#ifdef EXIT_SEVER_BEFORE_ZAP
	k = mm[p].ctx; sever(k);
#endif
	zap(p, 0);			/* unmap_vmas() */
	zap(p, 1);
	mmap_read_unlock(p);
	mmap_write_lock(p);
#if !defined NO_EXIT_SEVER && !defined EXIT_SEVER_BEFORE_ZAP
	if
	:: mm[p].ctx != NONE -> k = mm[p].ctx; sever(k)
	:: else
	fi;
#endif
	mm[p].tree = NO_RCU;		/* mt_clear_in_rcu() */
#ifdef LEAVE_BEFORE_UNLINK
	k = mm[p].ctx; leave(k);
	mm[p].ctx = NONE;
#endif
	/* free_pgtables() */
	pl = 0;
	do
	:: pl == NP -> break
	:: pl < NP && mm[p].at[pl] == NONE -> pl++
	:: pl < NP && mm[p].at[pl] != NONE ->
		v = mm[p].at[pl];
		unlink_detached(v);
		vma[v].st = UNMAPPED;
		pl++
	od;
	/* tear_down_vmas() */
	pl = 0;
	do
	:: pl == NP -> break
	:: pl < NP && mm[p].at[pl] == NONE -> pl++
	:: pl < NP && mm[p].at[pl] != NONE -> v = mm[p].at[pl]; vm_area_free(v); pl++
	od;
	atomic { v = 0; pl = 0; a = 0; x = 0 };
	/* anon_vma_lazy_leave() */
	if
	:: mm[p].ctx != NONE -> k = mm[p].ctx; leave(k); mm[p].ctx = NONE
	:: else
	fi;
	tree_changes(p);		/* __mt_destroy() */
	mmap_write_unlock(p);
	/* __mmdrop() */
	d_step { mm[p].tree = GONE; mm[p].at[0] = NONE; mm[p].at[1] = NONE }
}

/* do_anonymous_page(): anon_vma_lazy_prepare(), context::get(); own: what a new context would be */
inline fault(p, place_, own)
{
	mmap_read_lock(p);
	v = mm[p].at[place_];
#ifdef ANCHOR_AFTER_MAPPING
	map_folio(p, place_, own);
#endif
	x = mm[p].ctx;
	if
	:: x == NONE ->
		/* context::create() */
		anon_vma_lazy_alloc(own, own);
		d_step {
			ctx[own].live = 1; ctx[own].dead = 0; ctx[own].anchor = own;
			ctx[own].mm = p; ctx[own].parent = NONE; ctx[own].first = NONE;
			ctx[own].next = NONE; ctx[own].prev = NONE;
			av[own].holder = own; av[own].leaf = 1
		};
		atomic {		/* cmpxchg() */
			if
#ifdef CREATE_STORES
			:: true ->
#else
			:: mm[p].ctx == NONE ->
#endif
				mm[p].ctx = own; x = own
#ifndef CREATE_STORES
			:: else -> x = mm[p].ctx
#endif
			fi
		};
		if
		:: x != own ->		/* another thread was faster */
			d_step {
				av[own].holder = NONE;
				ctx[own].live = 0
			};
			put_anon_vma(own)
		:: else
		fi
	:: else
	fi;
	/* page_table_lock, cmpxchg() */
	d_step {
		if
#ifdef WANT_DISPLACED
		:: vma[v].anchor == NONE -> vma[v].anchor = ctx[x].anchor
#else
		:: vma[v].anchor == NONE && !displaced(v) -> vma[v].anchor = ctx[x].anchor
#endif
		:: else
		fi
	};
#ifndef ANCHOR_AFTER_MAPPING
	y = vma[v].anchor;
	map_folio(p, place_, y);
#endif
	d_step { v = 0; x = 0 };
	mmap_read_unlock(p)
}

/* The first of two threads maps the folio, the other one finds it mapped. */
inline map_folio(p, place_, anon)
{
	atomic { !mm[p].ptl -> mm[p].ptl = 1 };
	if
	:: mapping == NONE && anon != NONE ->
		index = vma[v].pgoff;
		mapping = anon;		/* __folio_set_anon() */
		mapcount++;		/* folio_add_new_anon_rmap() */
		lru = 1;		/* folio_add_lru_vma() */
		mm[p].pte[place_] = PRESENT	/* set_pte_at() */
	:: else
	fi;
	mm[p].ptl = 0
}

/* ---- Scenarios ---- */

#define new_vma(v, p, pl, off, anon) \
	vma[v].st = LIVE; vma[v].mm = p; vma[v].place = pl; vma[v].pgoff = off; \
	vma[v].anchor = anon; vma[v].avc = (anon != NONE && off != pl -> anon : NONE); \
	vma[v].list = NONE; mm[p].at[pl] = v

#define new_anchor(a, r, h) \
	av[a].live = 1; av[a].root = r; av[a].holder = h; av[a].ref++; av[r].ref = av[r].ref + (a != r)

#define new_ctx(c, up, down, nxt, prv) \
	ctx[c].live = 1; ctx[c].mm = c; ctx[c].anchor = c; ctx[c].parent = up; \
	ctx[c].first = down; ctx[c].next = nxt; ctx[c].prev = prv; mm[c].ctx = c; mm[c].tree = RCU

/* A place where the folio is mapped, in a VMA v: natural or displaced. */
#define maps(p, pl, v) \
	new_vma(v, p, pl, 0, p); mm[p].pte[pl] = PRESENT; mapcount++

/* A process that has not forked, */
#define not_forked \
	new_anchor(0, 0, 0); new_ctx(0, NONE, NONE, NONE, NONE); av[0].leaf = 1
/* and one that is left of a family */
#define family_of_one \
	new_anchor(ROOT, ROOT, 0); new_anchor(0, ROOT, 0); new_ctx(0, NONE, NONE, NONE, NONE); \
	av[0].leaf = 1
#define alone \
	if \
	:: not_forked \
	:: family_of_one \
	fi
#define child_of_0 \
	new_anchor(1, ROOT, 1); new_ctx(1, 0, NONE, NONE, NONE); ctx[0].first = 1; \
	av[0].leaf = 0; av[1].leaf = 1

#ifdef S_FORK			/* natural or displaced; before it or after it, one is not copied */
#define SETUP	alone; \
	if \
	:: maps(0, 0, 0); new_vma(1, 0, 1, 1, NONE); vma[1].nocopy = 1 \
	:: maps(0, 1, 0); new_vma(1, 0, 0, 0, NONE); vma[1].nocopy = 1 \
	fi; \
	mapping = 0
#define ACTORS	run forker()
proctype forker() { LOCALS; dup_mmap(0, 1, false) }
#endif

#ifdef S_FAIL			/* fork that fails anywhere */
#define SETUP	alone; \
	if \
	:: maps(0, 0, 0); new_vma(1, 0, 1, 1, NONE) \
	:: maps(0, 1, 0); new_vma(1, 0, 0, 0, NONE) \
	fi; \
	mapping = 0
#define ACTORS	run forker()
proctype forker() { LOCALS; dup_mmap(0, 1, true) }
#endif

#ifdef S_MUNMAP			/* fails or not; then again if it did */
#define SETUP	family_of_one; \
	if \
	:: maps(0, 0, 0) \
	:: maps(0, 1, 0) \
	fi; \
	mapping = 0
#define ACTORS	run unmapper(); run other_walk()
proctype unmapper()
{
	LOCALS;
	byte where = (mm[0].at[0] == 0 -> 0 : 1);

	mmap_write_lock(0);
	do_munmap(0, where, true);
	mmap_read_unlock(0);
	if
	:: mm[0].at[where] != NONE ->
		mmap_write_lock(0);
		do_munmap(0, where, false);
		mmap_read_unlock(0)
	:: else
	fi
}
#endif

#ifdef S_MREMAP			/* away from its address or back to it */
#define SETUP	family_of_one; \
	if \
	:: maps(0, 0, 0) \
	:: maps(0, 1, 0) \
	fi; \
	mapping = 0
#define ACTORS	run mover()
proctype mover()
{
	LOCALS;
	byte where = (mm[0].at[0] == 0 -> 0 : 1);

	move_vma(0, where, 1 - where, true)
}
#endif

#ifdef S_SWAP			/* at the folio's address sits a VMA that was moved there */
#define SETUP	family_of_one; maps(0, 1, 0); new_vma(1, 0, 0, 1, 0); mapping = 0
#define ACTORS	run unmapper()
proctype unmapper()
{
	LOCALS;

	mmap_write_lock(0);
	do_munmap(0, 0, false);
	mmap_read_unlock(0);
	move_vma(0, 1, 0, false)
}
#endif

#ifdef S_REUSE_AWAY		/* likewise, but the copy is displaced; a child maps the folio */
#define S_REUSE
#define SETUP	family_of_one; new_vma(1, 0, 0, 0, NONE); new_vma(0, 0, 1, 1, 0); \
	child_of_0; maps(1, 0, 2); mapping = 0
#define ACTORS	run mover()
#endif

#ifdef S_REUSE			/* memory of a VMA that was found becomes the copy of another one */
#ifndef SETUP
#define SETUP	family_of_one; new_vma(1, 0, 0, 0, NONE); maps(0, 1, 0); mapping = 0
#define ACTORS	run mover()
#endif
proctype mover()
{
	LOCALS;

	mmap_write_lock(0);
	do_munmap(0, 0, false);
	mmap_read_unlock(0);
	move_vma(0, 1, 0, true)
}
#endif

#ifdef S_REUSE_FIXED		/* memory of a VMA that was found, unfaulted, becomes that of a half */
#define SETUP	family_of_one; new_vma(1, 0, 0, 0, NONE); maps(0, 1, 0); mapping = 0
#define ACTORS	run splitter()
proctype splitter()
{
	LOCALS;

	mmap_fixed(0, 0);		/* needs no lock that walks take */
	fault(0, 0, 1);
	/* __split_vma() */
	mmap_write_lock(0);
	v = mm[0].at[0];
	vm_area_dup(n, v);
	vm_area_free(n);		/* no memory for the rest of it */
	d_step { v = 0; n = 0 };
	mmap_write_unlock(0)
}
#endif

#ifdef S_FIXED			/* mmap() over it, then it goes away as well */
#define SETUP	alone; \
	if \
	:: maps(0, 0, 0) \
	:: maps(0, 1, 0) \
	fi; \
	mapping = 0
#define ACTORS	run mapper()
proctype mapper()
{
	LOCALS;
	byte where = (mm[0].at[0] == 0 -> 0 : 1);

	mmap_fixed(0, where)
}
#endif

#ifdef S_EXIT			/* a process without children */
#define SETUP	alone; \
	if \
	:: maps(0, 0, 0) \
	:: maps(0, 1, 0) \
	fi; \
	mapping = 0
#define ACTORS	run leaver()
proctype leaver() { LOCALS; exit_mmap(0) }
#endif

#ifdef S_DONATE			/* a parent and its only child exit */
#define SETUP	family_of_one; child_of_0; maps(0, 0, 0); maps(1, 0, 1); mapping = 0
#define ACTORS	run leaver(); run child()
proctype leaver() { LOCALS; exit_mmap(0) }
proctype child() { LOCALS; exit_mmap(1) }
#endif

#ifdef S_DEAD			/* a parent of two exits, then one of them */
#define SETUP	family_of_one; \
	new_anchor(1, ROOT, 1); new_ctx(1, 0, NONE, 2, NONE); ctx[0].first = 1; \
	new_anchor(2, ROOT, 2); new_ctx(2, 0, NONE, NONE, 1); \
	av[0].leaf = 0; av[1].leaf = 1; av[2].leaf = 1; \
	maps(0, 0, 0); maps(1, 0, 1); maps(2, 0, 2); mapping = 0
#define ACTORS	run leaver()
proctype leaver()
{
	LOCALS;

	exit_mmap(0);
	if
	:: exit_mmap(1)
	:: exit_mmap(2)
	fi
}
#endif

#ifdef S_FORK_EXIT		/* a process forks, then exits */
#define SETUP	alone; \
	if \
	:: maps(0, 0, 0) \
	:: maps(0, 1, 0) \
	fi; \
	mapping = 0
#define ACTORS	run forker()
proctype forker() { LOCALS; dup_mmap(0, 1, false); exit_mmap(0) }
#endif

#ifdef S_SIBLING		/* a process forks while a child of it exits */
#define SETUP	family_of_one; child_of_0; maps(0, 0, 0); maps(1, 0, 1); mapping = 0
#define ACTORS	run forker(); run child()
proctype forker() { LOCALS; dup_mmap(0, 2, false) }
proctype child() { LOCALS; exit_mmap(1) }
#endif

#ifdef S_GRANDCHILD		/* a child forks while its parent exits */
#define SETUP	family_of_one; child_of_0; maps(0, 0, 0); maps(1, 0, 1); mapping = 0
#define ACTORS	run leaver(); run child()
proctype leaver() { LOCALS; exit_mmap(0) }
proctype child() { LOCALS; dup_mmap(1, 2, false) }
#endif

#ifdef S_FAULT			/* two threads fault first, then the process exits */
#define SETUP	mm[0].ctx = NONE; mm[0].tree = RCU; new_vma(0, 0, 0, 0, NONE)
#define ACTORS	run thread(0); run thread(1)
proctype thread(byte own)
{
	LOCALS;

	fault(0, 0, own);
	d_step { faults++; x = faults };
	if
	:: x == 2 -> exit_mmap(0)
	:: else
	fi
}
#endif

#ifdef S_WIPE			/* the child faults in its copy of a moved VM_WIPEONFORK VMA */
#define SETUP	family_of_one; new_vma(0, 0, 1, 0, 0); vma[0].wipe = 1
#define ACTORS	run forker()
proctype forker() { LOCALS; dup_mmap(0, 1, false); fault(1, 1, 1); move_vma(1, 1, 0, false) }
#endif

#ifdef S_BORROW			/* a child borrows the anchor that the folio points to, and exits */
#define SETUP	family_of_one; new_anchor(SPARE, ROOT, 0); av[SPARE].spare = 1; child_of_0; \
	maps(0, 0, 0); maps(1, 0, 1); mapping = SPARE
#define ACTORS	run forker()
proctype forker()
{
	LOCALS;

	if
	:: dup_mmap(0, 2, false)
	:: dup_mmap(1, 2, false)
	fi;
	exit_mmap(2)
}
#endif

#ifdef S_BORROW_DEAD		/* the same, from a context that is dead, the anchor that it used */
#define SETUP	family_of_one; \
	ctx[0].mm = NONE; ctx[0].dead = 1; mm[0].ctx = NONE; mm[0].tree = GONE; av[0].spare = 1; \
	new_anchor(1, ROOT, 1); new_ctx(1, 0, NONE, 2, NONE); ctx[0].first = 1; \
	new_anchor(2, ROOT, 2); new_ctx(2, 0, NONE, NONE, 1); \
	av[0].leaf = 0; av[1].leaf = 1; av[2].leaf = 1; \
	maps(1, 0, 1); maps(2, 0, 2); mapping = 0
#define ACTORS	run forker()
proctype forker() { LOCALS; dup_mmap(1, 3, false); exit_mmap(3) }
#endif

#ifdef S_FORK_MUNMAP		/* two threads */
#define SETUP	alone; maps(0, 0, 0); mapping = 0
#define ACTORS	run forker(); run unmapper()
proctype forker()
{
	LOCALS;

	dup_mmap(0, 1, false)
}
proctype unmapper()
{
	LOCALS;

	mmap_write_lock(0);
	do_munmap(0, 0, false);
	mmap_read_unlock(0)
}
#endif

#ifdef S_FORK_MREMAP		/* two threads */
#define SETUP	alone; \
	if \
	:: maps(0, 0, 0) \
	:: maps(0, 1, 0) \
	fi; \
	mapping = 0
#define ACTORS	run forker(); run mover()
proctype forker()
{
	LOCALS;

	dup_mmap(0, 1, false)
}
proctype mover()
{
	LOCALS;
	byte where = (mm[0].at[0] == 0 -> 0 : 1);

	move_vma(0, where, 1 - where, false)
}
#endif

/* The end: nothing is left that nobody refers to. */
inline check_leaks()
{
	d_step {
		t = 0;
		do
		:: t < NA && av[t].live ->
			assert(av[t].holder != NONE && ctx[av[t].holder].live);
			assert(!av[t].readers && !av[t].writer && !av[t].waiting);
			refs[av[t].root]++;
			if
			:: t != av[t].root -> refs[t]++
			:: else
			fi;
			t++
		:: t < NA && !av[t].live -> t++
		:: t == NA -> break
		od;
		t = 0;
		do
		:: t < NA ->
			assert(!av[t].live || av[t].ref == refs[t]);
			t++
		:: else -> break
		od;
		t = 0;
		do
		:: t < NMM ->
			/* A dead context has two children. */
			assert(!ctx[t].live || (ctx[t].mm == t && mm[t].ctx == t) ||
			       (ctx[t].mm == 0 && mm[0].ctx == t) ||
			       (ctx[t].first != NONE && ctx[ctx[t].first].next != NONE));
			assert(mm[t].pte[0] != MIG && mm[t].pte[1] != MIG);
			t++
		:: else -> break
		od;
		t = 0;
		do
		:: t < NV ->
			assert(vma[t].st == FREE || mm[vma[t].mm].at[vma[t].place] == t);
			t++
		:: else -> break
		od
	}
}

init
{
	byte refs[NA];

	atomic {
		t = 0;
		do
		:: t < NMM ->
			mm[t].ctx = NONE; mm[t].at[0] = NONE; mm[t].at[1] = NONE;
			t++
		:: else -> break
		od;
		t = 0;
		do
		:: t < NV ->
			vma[t].anchor = NONE; vma[t].avc = NONE; vma[t].list = NONE;
			av[t].hint = NONE;	/* NA == NV */
			t++
		:: else -> break
		od;
		t = 0;
		SETUP;
		lru = (mapping != NONE);
		run walker();
		ACTORS
	};
	_nr_pr == 1;
	check_leaks()
}
