/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _ANON_VMA_LAZY_HELPERS_H
#define _ANON_VMA_LAZY_HELPERS_H
/* Between Rust and C: see helpers.rs for the other side. */

#include <linux/types.h>

struct anon_vma;
struct anon_vma_lazy;
struct anon_vma_lazy_ops;
struct dentry;
struct folio;
struct list_head;
struct mm_struct;
struct seq_file;
struct vm_area_struct;

/* Defined in Rust. */
extern unsigned long anon_vma_lazy_hide_address;
int anon_vma_lazy_stats_show(struct seq_file *m, void *unused);
int anon_vma_lazy_verify_show(struct seq_file *m, void *unused);
int anon_vma_lazy_walk_address(pid_t pid, unsigned long address, char *text,
			       size_t *len);
int anon_vma_lazy_walk_pfn(unsigned long pfn, char *text, size_t *len);
int anon_vma_lazy_contexts(char *text, size_t *len);
int anon_vma_lazy_vmas(pid_t pid, char *text, size_t *len);
int anon_vma_lazy_drain_all(char *text, size_t *len);
int anon_vma_lazy_drain_left(char *text, size_t *len);
bool anon_vma_lazy_pin(struct anon_vma_lazy *ctx, struct anon_vma *anon_vma);

/* As Event in helpers.rs. */
enum avl_event {
	AVL_WALK_LEAF,
	AVL_WALK,
	AVL_WALK_CONTEXT,
	AVL_WALK_VMA,
	AVL_WALK_CONTENDED,
	AVL_VERIFY_MAPPING,
	AVL_VERIFY_MISSED,
	AVL_NR_EVENTS,
};

/* Defined in helpers.c. */
void avl_count(unsigned int event, unsigned int nr);
void avl_count_walk(unsigned int contexts, unsigned int vmas);
unsigned long avl_sum(unsigned int event);
unsigned long avl_kernel_sum(unsigned int event);
void avl_get_module(void);
void avl_put_module(void);
int avl_init(unsigned int ctx_size);
void avl_exit(void);
void *avl_ctx_alloc(void);
void avl_ctx_free(void *ctx);
void avl_anon_vma_get(struct anon_vma *anon_vma);
void avl_anon_vma_put(struct anon_vma *anon_vma);
unsigned long avl_anon_pages(struct mm_struct *mm);
void avl_cond_resched(void);
u64 avl_hash(const void *ptr);

/* Defined in learn.c. */
struct avl_index;
struct avl_share;
int avl_learn_init(void);
void avl_learn_exit(void);
unsigned long avl_learn_bytes(unsigned long indexes, unsigned long shares);
struct avl_index *avl_index_alloc(void);
void avl_index_free(struct avl_index *index);
void avl_index_lock(struct avl_index *index);
void avl_index_unlock(struct avl_index *index);
struct avl_share *avl_share_insert(struct avl_index *index, struct anon_vma_lazy *ctx,
				   unsigned long first, unsigned long last);
void avl_share_remove(struct avl_index *index, struct avl_share *share);
void avl_share_resize(struct avl_index *index, struct avl_share *share,
		      unsigned long first, unsigned long last);
struct avl_share *avl_share_first(struct avl_index *index, unsigned long first,
				  unsigned long last);
struct avl_share *avl_share_next(struct avl_share *share, unsigned long first,
				 unsigned long last);

/* Whose VMAs may become lazy? Some: whom avl_policy_allows(). As in helpers.rs. */
enum avl_mode { AVL_NOBODY, AVL_SOME, AVL_EVERYBODY };

/* Defined in policy.c. */
extern u8 avl_mode;
void avl_register(const struct anon_vma_lazy_ops *module_ops);
void avl_unregister(void);
bool avl_policy_allows(const struct vm_area_struct *vma);
void avl_policy_init(struct dentry *dir);
void avl_policy_exit(void);

/* Defined in pagetable.c. */
bool avl_killed(void);
bool avl_interrupted(void);
unsigned int avl_pids(pid_t *pids, unsigned int max);
struct mm_struct *avl_get_mm(pid_t pid, char *comm);
int avl_mmap_read_lock_killable(struct mm_struct *mm);
int avl_mmap_write_lock_killable(struct mm_struct *mm);
void avl_mmap_write_unlock(struct mm_struct *mm);
pid_t avl_mm_owner(struct mm_struct *mm, char *comm);
struct folio *avl_get_pfn(unsigned long pfn);
unsigned long avl_entry(struct mm_struct *mm, unsigned long address,
			unsigned int *kind, struct folio **folio,
			unsigned long *index);
void avl_folio_lock(struct folio *folio);
void avl_folio_unlock(struct folio *folio);
void avl_folio_put(struct folio *folio);
unsigned int avl_folio_flags(struct folio *folio);
unsigned int avl_folio_order(struct folio *folio);
unsigned long avl_folio_index(struct folio *folio);
int avl_folio_mapcount(struct folio *folio);
bool avl_swapped_in_place(struct folio *folio, unsigned long index,
			  struct anon_vma *anon_vma,
			  struct vm_area_struct *vma, unsigned long address);
struct anon_vma *avl_folio_pin_anon_vma(struct folio *folio,
					struct vm_area_struct *vma);

#endif /* _ANON_VMA_LAZY_HELPERS_H */
