// SPDX-License-Identifier: GPL-2.0
/*
 * Where learn.rs keeps what it knows: an interval tree of shares per index, and
 * who may change it. See shares.rs for the other side.
 */

#include <linux/interval_tree_generic.h>
#include <linux/rmap.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "helpers.h"

/*
 * A range of page offsets that a child may still have in common with its parent.
 * The fields of Share in shares.rs come first.
 */
struct avl_share {
	unsigned long first, last;
	struct anon_vma_lazy *ctx;
	struct avl_share *sibling;
	struct rb_node rb;
	unsigned long subtree_last;
};

/*
 * The index of a parent. The fields of Index in shares.rs come first. @walks
 * are inside.
 */
struct avl_index {
	struct anon_vma_lazy *first_learned;
	unsigned int walks;
	spinlock_t lock;	/* for all of this but from walks that are inside */
	struct rb_root_cached shares;
};

#define SHARE_FIRST(share)	((share)->first)
#define SHARE_LAST(share)	((share)->last)

INTERVAL_TREE_DEFINE(struct avl_share, rb, unsigned long, subtree_last,
		     SHARE_FIRST, SHARE_LAST, static, share_tree)

/* Walks may be part of reclaim: nothing waits, nor takes the last memory. */
#define GFP_LEARN	(GFP_NOWAIT | __GFP_NOMEMALLOC | __GFP_ZERO)

static struct kmem_cache *index_cache, *share_cache;

/** avl_learn_init() - Make the slab caches; 0 or -ENOMEM */
int avl_learn_init(void)
{
	index_cache = kmem_cache_create("anon_vma_lazy_index", sizeof(struct avl_index),
					0, SLAB_ACCOUNT, NULL);
	share_cache = kmem_cache_create("anon_vma_lazy_share", sizeof(struct avl_share),
					0, SLAB_ACCOUNT, NULL);
	if (index_cache && share_cache)
		return 0;
	avl_learn_exit();
	return -ENOMEM;
}

/** avl_learn_exit() - Undo avl_learn_init() */
void avl_learn_exit(void)
{
	kmem_cache_destroy(share_cache);
	kmem_cache_destroy(index_cache);
}

/** avl_learn_bytes() - Memory of so many indexes and shares */
unsigned long avl_learn_bytes(unsigned long indexes, unsigned long shares)
{
	return indexes * sizeof(struct avl_index) + shares * sizeof(struct avl_share);
}

/** avl_index_alloc() - Allocate an empty index; NULL if out of memory */
struct avl_index *avl_index_alloc(void)
{
	struct avl_index *index = kmem_cache_alloc(index_cache, GFP_LEARN);

	if (!index)
		return NULL;
	index->shares = RB_ROOT_CACHED;
	spin_lock_init(&index->lock);
	return index;
}

/** avl_index_free() - Free an index without shares */
void avl_index_free(struct avl_index *index)
{
	kmem_cache_free(index_cache, index);
}

/** avl_index_lock() - Lock an index */
void avl_index_lock(struct avl_index *index)
{
	spin_lock(&index->lock);
}

/** avl_index_unlock() - Undo avl_index_lock() */
void avl_index_unlock(struct avl_index *index)
{
	spin_unlock(&index->lock);
}

/** avl_share_insert() - Put a new share into the index; NULL if out of memory */
struct avl_share *avl_share_insert(struct avl_index *index, struct anon_vma_lazy *ctx,
				   unsigned long first, unsigned long last)
{
	struct avl_share *share = kmem_cache_alloc(share_cache, GFP_LEARN);

	if (!share)
		return NULL;
	share->ctx = ctx;
	share->first = first;
	share->last = last;
	share_tree_insert(share, &index->shares);
	return share;
}

/** avl_share_remove() - Take a share out of the index and free it */
void avl_share_remove(struct avl_index *index, struct avl_share *share)
{
	share_tree_remove(share, &index->shares);
	kmem_cache_free(share_cache, share);
}

/** avl_share_resize() - Change the range of a share */
void avl_share_resize(struct avl_index *index, struct avl_share *share,
		      unsigned long first, unsigned long last)
{
	share_tree_remove(share, &index->shares);
	share->first = first;
	share->last = last;
	share_tree_insert(share, &index->shares);
}

/** avl_share_first() - The first share that overlaps [@first, @last], or NULL */
struct avl_share *avl_share_first(struct avl_index *index, unsigned long first,
				  unsigned long last)
{
	return share_tree_iter_first(&index->shares, first, last);
}

/** avl_share_next() - The next one */
struct avl_share *avl_share_next(struct avl_share *share, unsigned long first,
				 unsigned long last)
{
	return share_tree_iter_next(share, first, last);
}
