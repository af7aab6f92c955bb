// SPDX-License-Identifier: GPL-2.0
/*
 * Page tables, processes and folios for the oracle (oracle.rs): mostly inline
 * functions of the kernel. Nothing here knows of the look-up it checks.
 */

#include <linux/ksm.h>
#include <linux/leafops.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>

#include "helpers.h"

/* As Kind in helpers.rs. */
enum avl_kind { AVL_NONE, AVL_PRESENT, AVL_MIGRATION, AVL_SWAP, AVL_HWPOISON };

/* mm/swap.h is private to mm; exported for this module. */
struct folio *swap_cache_get_folio(swp_entry_t entry);

/** avl_killed() - May a long loop be interrupted here, and should it end? */
bool avl_killed(void)
{
	cond_resched();
	return fatal_signal_pending(current);
}

/** avl_interrupted() - Should a loop end that may be interrupted? */
bool avl_interrupted(void)
{
	cond_resched();
	return signal_pending(current);
}

/**
 * avl_pids() - List the processes that have an address space
 * @pids: Where to.
 * @max: Room for how many.
 *
 * Return: How many there are, which may be more than @max.
 */
unsigned int avl_pids(pid_t *pids, unsigned int max)
{
	struct task_struct *p;
	unsigned int n = 0;

	rcu_read_lock();
	for_each_process(p) {
		/* This flag does not change; others may. */
		if (data_race(p->flags) & PF_KTHREAD)
			continue;
		if (n < max)
			pids[n] = task_pid_nr(p);
		n++;
	}
	rcu_read_unlock();
	return n;
}

/**
 * avl_get_mm() - The address space of a process
 * @pid: Its id in the initial namespace.
 * @comm: Set to the name of the process, TASK_COMM_LEN bytes; or NULL.
 *
 * Return: The address space with a reference for mmput(), NULL if there is no
 * such process or it has none.
 */
struct mm_struct *avl_get_mm(pid_t pid, char *comm)
{
	struct task_struct *p, *t;
	struct mm_struct *mm = NULL;

	rcu_read_lock();
	p = pid_task(find_pid_ns(pid, &init_pid_ns), PIDTYPE_PID);
	if (p) {
		/* The first thread may have exited and left the others. */
		for_each_thread(p, t) {
			mm = get_task_mm(t);
			if (mm)
				break;
		}
		if (comm)
			strscpy_pad(comm, p->comm, TASK_COMM_LEN);
	}
	rcu_read_unlock();
	return mm;
}

/** avl_mmap_read_lock_killable() - mmap_read_lock_killable() */
int avl_mmap_read_lock_killable(struct mm_struct *mm)
{
	return mmap_read_lock_killable(mm);
}

/** avl_mmap_write_lock_killable() - mmap_write_lock_killable() */
int avl_mmap_write_lock_killable(struct mm_struct *mm)
{
	return mmap_write_lock_killable(mm);
}

/** avl_mmap_write_unlock() - mmap_write_unlock() */
void avl_mmap_write_unlock(struct mm_struct *mm)
{
	mmap_write_unlock(mm);
}

/**
 * avl_mm_owner() - Whose address space is this?
 * @mm: The address space.
 * @comm: Set to the name of the process; TASK_COMM_LEN bytes.
 *
 * Return: The id of the process, 0 if it is exiting.
 */
pid_t avl_mm_owner(struct mm_struct *mm, char *comm)
{
	pid_t pid = 0;

	strscpy(comm, "?", TASK_COMM_LEN);
#ifdef CONFIG_MEMCG
	rcu_read_lock();
	if (rcu_dereference(mm->owner)) {
		struct task_struct *p = rcu_dereference(mm->owner);

		/* Any of its threads. */
		pid = task_tgid_nr(p);
		strscpy_pad(comm, p->comm, TASK_COMM_LEN);
	}
	rcu_read_unlock();
#endif
	return pid;
}

/**
 * avl_get_pfn() - The folio of a page frame
 * @pfn: Number of the page frame; any number will do.
 *
 * Return: The folio with a reference, NULL if there is none to get.
 */
struct folio *avl_get_pfn(unsigned long pfn)
{
	struct page *page = pfn_to_online_page(pfn);
	struct folio *folio;

	if (!page)
		return NULL;
	folio = page_folio(page);
	if (!folio_try_get(folio))
		return NULL;
	/* What has a type, as page tables have, keeps something else in mapping. */
	if (page_folio(page) == folio && !page_has_type(&folio->page))
		return folio;
	folio_put(folio);
	return NULL;
}

/*
 * The page table lock keeps what is mapped, but a page whose migration entry is
 * there may leave its folio in a split, and a poisoned one may do anything.
 */
static struct folio *get_anon_folio(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (!folio_test_anon(folio) || !folio_try_get(folio))
		return NULL;
	if (page_folio(page) == folio)
		return folio;
	folio_put(folio);
	return NULL;
}

/*
 * What an entry that is not present is, and its page; or get its folio from the
 * swap cache and set the index in it, which only counts if the folio is locked.
 */
static enum avl_kind softleaf_kind(softleaf_t entry, struct page **page,
				   struct folio **swap, unsigned long *index)
{
	if (softleaf_is_migration(entry) || softleaf_is_hwpoison(entry)) {
		*page = softleaf_to_page(entry);
		return softleaf_is_migration(entry) ? AVL_MIGRATION : AVL_HWPOISON;
	}
	if (softleaf_is_swap(entry)) {
		*swap = swap_cache_get_folio(entry);
		if (!*swap)
			return AVL_NONE;
		/* Stable if the folio is locked, of no interest otherwise. */
		*index = swp_offset(entry) - swp_offset(data_race((*swap)->swap));
		return AVL_SWAP;
	}
	return AVL_NONE;
}

/**
 * avl_entry() - What does a page table say of an address?
 * @mm: The address space; mmap_lock or a lock that keeps rmap out of it held.
 * @address: The address.
 * @kind: Set to an enum avl_kind.
 * @folio: Set to the folio it refers to with a reference, NULL if none.
 * @index: Set to the number of the page in @folio; for a folio in the swap
 *	cache it only counts if that is locked.
 *
 * Return: The next address that can have another answer.
 */
unsigned long avl_entry(struct mm_struct *mm, unsigned long address,
			unsigned int *kind, struct folio **folio,
			unsigned long *index)
{
	struct folio *swap = NULL;
	struct page *page = NULL;
	spinlock_t *ptl;	/* of the page table */
	pgd_t *pgd;
	p4d_t *p4d;
	pud_t *pud, pudval;
	pmd_t *pmd, pmdval;
	pte_t *ptep, pte;

	*kind = AVL_NONE;
	*folio = NULL;
	pgd = pgd_offset(mm, address);
	if (pgd_none(*pgd))
		return (address | ~PGDIR_MASK) + 1;
	p4d = p4d_offset(pgd, address);
	if (p4d_none(*p4d))
		return (address | ~P4D_MASK) + 1;
	pud = pud_offset(p4d, address);
	/* A huge one may be zapped meanwhile. */
	pudval = pudp_get(pud);
	if (pud_none(pudval) || pud_leaf(pudval))
		return (address | ~PUD_MASK) + 1;
	pmd = pmd_offset_lockless(pud, pudval, address);
retry:
	pmdval = pmdp_get_lockless(pmd);
	if (pmd_none(pmdval))
		return (address | ~PMD_MASK) + 1;

	if (!pmd_present(pmdval) || pmd_leaf(pmdval)) {
		ptl = pmd_lock(mm, pmd);
		if (!pmd_same(pmdval, *pmd)) {
			spin_unlock(ptl);
			goto retry;
		}
		if (!pmd_present(pmdval)) {
			*kind = softleaf_kind(softleaf_from_pmd(pmdval), &page,
					      &swap, index);
		} else if (!pmd_special(pmdval) && pfn_valid(pmd_pfn(pmdval))) {
			*kind = AVL_PRESENT;
			page = pmd_page(pmdval);
		}
		if (page)
			page += (address & ~PMD_MASK) >> PAGE_SHIFT;
	} else {
		/* As pte_offset_map_lock(), which modules cannot call. */
		rcu_read_lock();
		ptl = pte_lockptr(mm, &pmdval);
		ptep = pte_offset_kernel(&pmdval, address);
		spin_lock(ptl);
		if (!pmd_same(pmdval, pmdp_get_lockless(pmd))) {
			spin_unlock(ptl);
			rcu_read_unlock();
			goto retry;
		}
		pte = ptep_get(ptep);
		if (pte_present(pte)) {
			if (!pte_special(pte) && pfn_valid(pte_pfn(pte))) {
				*kind = AVL_PRESENT;
				page = pte_page(pte);
			}
		} else if (!pte_none(pte)) {
			*kind = softleaf_kind(softleaf_from_pte(pte), &page,
					      &swap, index);
		}
		rcu_read_unlock();
	}

	if (page)
		*folio = get_anon_folio(page);
	if (*folio)
		*index = folio_page_idx(*folio, page);
	else if (swap)
		*folio = swap;
	else if (*kind != AVL_HWPOISON)
		*kind = AVL_NONE;
	spin_unlock(ptl);
	return address + PAGE_SIZE;
}

/** avl_folio_lock() - folio_lock() */
void avl_folio_lock(struct folio *folio)
{
	folio_lock(folio);
}

/** avl_folio_unlock() - folio_unlock() */
void avl_folio_unlock(struct folio *folio)
{
	folio_unlock(folio);
}

/** avl_folio_put() - folio_put() */
void avl_folio_put(struct folio *folio)
{
	folio_put(folio);
}

/**
 * avl_folio_flags() - What is a folio?
 * @folio: The folio, locked.
 *
 * Return: The flags FOLIO_* of helpers.rs.
 */
unsigned int avl_folio_flags(struct folio *folio)
{
	unsigned int flags = 0;

	if (!folio_test_anon(folio) || !folio->mapping)
		return 0;
	flags = 1;
	if (folio_test_ksm(folio))
		flags |= 2;
	return flags;
}

/** avl_folio_order() - folio_order() */
unsigned int avl_folio_order(struct folio *folio)
{
	return folio_order(folio);
}

/** avl_folio_index() - Page offset of a locked folio */
unsigned long avl_folio_index(struct folio *folio)
{
	return folio->index;
}

/** avl_folio_mapcount() - folio_mapcount() */
int avl_folio_mapcount(struct folio *folio)
{
	return folio_mapcount(folio);
}

/**
 * avl_swapped_in_place() - Would a swap entry be read into this very folio?
 * @folio: The folio in the swap cache, locked.
 * @index: Number of the page in it.
 * @anon_vma: Its anon_vma.
 * @vma: The VMA with the entry; its mmap_lock is held.
 * @address: Where the entry is.
 *
 * Return: False if the kernel makes a copy, and rmap need not find the entry,
 * see ksm_might_need_to_copy().
 */
bool avl_swapped_in_place(struct folio *folio, unsigned long index,
			  struct anon_vma *anon_vma,
			  struct vm_area_struct *vma, unsigned long address)
{
	return folio->index + index == linear_anon_page_index(vma, address) &&
		READ_ONCE(anon_vma->root) == READ_ONCE(vma->anon_vma->root);
}

/**
 * avl_folio_pin_anon_vma() - Pin the anon_vma of a folio
 * @folio: An anonymous folio that is not a KSM folio, locked.
 * @vma: A VMA that has an entry for it, with the mmap_lock held; or NULL.
 *
 * Mappings keep the anon_vma. That of a folio that is not mapped is kept if the
 * VMA could map it again, which is so but for a KSM folio that was swapped out:
 * once read by a process it points to what that one had. Look for the pointer
 * among those that the VMA's pages may have.
 *
 * Return: The anon_vma with a reference, NULL if there is nothing to keep it.
 */
struct anon_vma *avl_folio_pin_anon_vma(struct folio *folio,
					struct vm_area_struct *vma)
{
	struct anon_vma *anon_vma = folio_get_anon_vma(folio);
	struct anon_vma_chain *avc;

	if (anon_vma || !vma || !vma->anon_vma)
		return anon_vma;

	anon_vma = (void *)((unsigned long)folio->mapping - FOLIO_MAPPING_ANON);
	/* As anon_vma_is_lazy(), whose static key modules cannot see. */
	if (READ_ONCE(vma->anon_vma->lazy_state) & ANON_VMA_LAZY)
		return anon_vma_lazy_pin(vma->vm_mm->anon_vma_lazy, anon_vma) ?
			anon_vma : NULL;
	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma) {
		if (avc->anon_vma == anon_vma) {
			avl_anon_vma_get(anon_vma);
			return anon_vma;
		}
	}
	return NULL;
}
