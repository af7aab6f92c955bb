// SPDX-License-Identifier: GPL-2.0
/*
 * Whose unfaulted VMAs may become lazy: the parameter "enabled", for everybody,
 * and the file "policy", by cgroups of the default hierarchy. The kernel hears of
 * the module when VMAs may become lazy for the first time: until then it does not
 * ask whether they are.
 *
 * A policy does not change once it is visible. Who replaces it holds policy_lock,
 * and drops the references on its cgroups when nobody can be reading it any more:
 * the first fault of a VMA does so, under RCU, and nobody else without the lock.
 */

#include <linux/cgroup.h>
#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/mm_types.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/rmap.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "helpers.h"

#define POLICY_MAX	8	/* cgroups */

struct policy {
	bool only;		/* these cgroups; or else all others */
	unsigned int nr;
	struct cgroup *cgroups[POLICY_MAX];
};

/*
 * Protects all that follows; a first fault reads avl_mode and then policy without.
 * Taken outside of what a static key takes, cpu_hotplug_lock first.
 */
static DEFINE_MUTEX(policy_lock);
static bool enabled = true;
static struct policy __rcu *policy;	/* NULL: all */
static const struct anon_vma_lazy_ops *ops;	/* NULL: not there yet, or not any more */
static bool registered;
u8 avl_mode = AVL_EVERYBODY;

static void update_mode(void)
{
	u8 mode = rcu_access_pointer(policy) ? AVL_SOME : AVL_EVERYBODY;

	lockdep_assert_held(&policy_lock);
	WRITE_ONCE(avl_mode, enabled ? mode : AVL_NOBODY);
	if (enabled && ops && !registered) {
		anon_vma_lazy_register(ops);
		registered = true;
	}
}

/** avl_register() - Let the kernel use the module, as soon as it is enabled */
void avl_register(const struct anon_vma_lazy_ops *module_ops)
{
	guard(mutex)(&policy_lock);
	ops = module_ops;
	update_mode();
}

/** avl_unregister() - Undo avl_register(), although "enabled" may be written yet */
void avl_unregister(void)
{
	guard(mutex)(&policy_lock);
	ops = NULL;
	if (registered)
		anon_vma_lazy_unregister();
}

static int enabled_set(const char *val, const struct kernel_param *kp)
{
	int err;

	guard(mutex)(&policy_lock);
	err = param_set_bool(val, kp);
	update_mode();
	return err;
}

static const struct kernel_param_ops enabled_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = enabled_set,
	.get = param_get_bool,
};

module_param_cb(enabled, &enabled_ops, &enabled, 0644);
__MODULE_PARM_TYPE(enabled, "bool");
MODULE_PARM_DESC(enabled, "Let unfaulted VMAs become lazy (default: Y)");

#ifdef CONFIG_MEMCG	/* there is no mm->owner without */

/**
 * avl_policy_allows() - May VMAs of this process become lazy?
 * @vma: One of them.
 *
 * It is the owner that counts, whoever faults: @vma may be another process's.
 * Like the memory cgroup of an mm, the owner, its css_set and that one's cgroup
 * are each freed by RCU: all of them stay to the end of the section in which they
 * were looked up.
 *
 * Context: Under RCU.
 */
bool avl_policy_allows(const struct vm_area_struct *vma)
{
	const struct policy *p = rcu_dereference(policy);
	struct task_struct *owner = rcu_dereference(vma->vm_mm->owner);
	struct cgroup *cgrp;

	/* "all" since avl_mode was read. */
	if (!p)
		return true;
	/* All its threads have ended: who writes there now is somebody else. */
	if (!owner)
		return false;
	/* Once: it may be moved at any time. */
	cgrp = task_dfl_cgroup(owner);
	for (unsigned int i = 0; i < p->nr; i++)
		if (cgroup_is_descendant(cgrp, p->cgroups[i]))
			return p->only;
	return !p->only;
}

static void policy_free(struct policy *p)
{
	while (p && p->nr)
		cgroup_put(p->cgroups[--p->nr]);
	kfree(p);
}

DEFINE_FREE(policy, struct policy *, policy_free(_T))

/*
 * The cgroup of a path, with a reference; NULL if there is none. Looked for among
 * all of them, as cgroup_get_from_path() takes a file on its way for a directory.
 */
static struct cgroup *policy_find(const char *path, char *buf)
{
	struct cgroup_subsys_state *css;

	guard(rcu)();
	css_for_each_descendant_pre(css, &cgrp_dfl_root.cgrp.self) {
		if (cgroup_path(css->cgroup, buf, PATH_MAX) < 0 || strcmp(path, buf))
			continue;
		/* One that was removed had the same path. */
		if (css_tryget_online(css))
			return css->cgroup;
	}
	return NULL;
}

/* What the words of a policy mean; NULL for "all". */
static struct policy *policy_parse(char **words, int nr)
{
	if (nr == 1 && !strcmp(words[0], "all"))
		return NULL;
	if (nr < 2 || (strcmp(words[0], "only") && strcmp(words[0], "except")))
		return ERR_PTR(-EINVAL);
	if (nr - 1 > POLICY_MAX)
		return ERR_PTR(-E2BIG);

	struct policy *p __free(policy) = kzalloc_obj(*p);
	char *buf __free(kfree) = kmalloc(PATH_MAX, GFP_KERNEL);

	if (!p || !buf)
		return ERR_PTR(-ENOMEM);
	p->only = !strcmp(words[0], "only");
	for (int i = 1; i < nr; i++) {
		struct cgroup *cgrp = policy_find(words[i], buf);

		if (!cgrp)
			return ERR_PTR(*words[i] == '/' ? -ENOENT : -EINVAL);
		p->cgroups[p->nr++] = cgrp;
	}
	return_ptr(p);
}

static ssize_t policy_write(struct file *file, const char __user *ubuf, size_t size,
			    loff_t *ppos)
{
	struct policy *p;
	char **words;
	int nr;

	if (size >= PATH_MAX)
		return -E2BIG;

	char *text __free(kfree) = memdup_user_nul(ubuf, size);

	if (IS_ERR(text))
		return PTR_ERR(text);
	if (strlen(text) != size)
		return -EINVAL;
	words = argv_split(GFP_KERNEL, text, &nr);
	if (!words)
		return -ENOMEM;
	p = policy_parse(words, nr);
	argv_free(words);
	if (IS_ERR(p))
		return PTR_ERR(p);

	scoped_guard(mutex, &policy_lock) {
		p = rcu_replace_pointer(policy, p, lockdep_is_held(&policy_lock));
		update_mode();
	}
	/*
	 * For who reads the old one. A first fault may have seen only one of the two
	 * stores: that is over, too. From now on the new policy decides.
	 */
	synchronize_rcu();
	policy_free(p);
	return size;
}

static int policy_show(struct seq_file *m, void *unused)
{
	char *path __free(kfree) = kmalloc(PATH_MAX, GFP_KERNEL);
	const struct policy *p;

	if (!path)
		return -ENOMEM;
	guard(mutex)(&policy_lock);
	p = rcu_dereference_protected(policy, lockdep_is_held(&policy_lock));
	seq_puts(m, !p ? "all" : p->only ? "only" : "except");
	for (unsigned int i = 0; p && i < p->nr; i++) {
		cgroup_path(p->cgroups[i], path, PATH_MAX);
		seq_printf(m, " %s", path);
		/* As in /proc/PID/cgroup. */
		if (!(READ_ONCE(p->cgroups[i]->self.flags) & CSS_ONLINE))
			seq_puts(m, " (deleted)");
	}
	seq_putc(m, '\n');
	return 0;
}

DEFINE_SHOW_STORE_ATTRIBUTE(policy);

/** avl_policy_init() - Make the file "policy" */
void avl_policy_init(struct dentry *dir)
{
	debugfs_create_file("policy", 0600, dir, NULL, &policy_fops);
}

/** avl_policy_exit() - Forget the policy, which nobody can read or change any more */
void avl_policy_exit(void)
{
	policy_free(rcu_dereference_protected(policy, true));
}

#else /* CONFIG_MEMCG */

bool avl_policy_allows(const struct vm_area_struct *vma)
{
	return true;
}

void avl_policy_init(struct dentry *dir)
{
}

void avl_policy_exit(void)
{
}

#endif /* CONFIG_MEMCG */
