# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Completion of anon-vma-lazy(1) for bash: source it, or put it into
# /usr/share/bash-completion/completions/anon-vma-lazy.

_anon_vma_lazy()
{
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local commands="stat top show tree walk verify compare record report" command="" i choices

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--from | --root) i=$((i + 1)) ;;
		-*) ;;
		*)	command=${COMP_WORDS[i]}
			break ;;
		esac
	done

	compopt +o default
	case $before in
	--root)	mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
	--from | -o | --output)
		mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
	-k | --kind)
		mapfile -t COMPREPLY < <(compgen -W "natural displaced eager unfaulted" -- "$word")
		return ;;
	esac
	case $command in
	'')	choices="$commands --from --root --json --help" ;;
	top)	choices="--json --help --number" ;;
	show)	choices="--json --help --kind $(cd /proc && echo [0-9]*)" ;;
	tree)	choices="--json --help $(cd /proc && echo [0-9]*)" ;;
	walk)	choices="--json --help pfn $(cd /proc && echo [0-9]*)" ;;
	record)	choices="--json --help --interval --count --output --no-contexts --vmas --slab" ;;
	compare | report)
		[[ $word = -* ]] || { mapfile -t COMPREPLY < <(compgen -f -- "$word"); return; }
		choices="--json --help"
		[ "$command" = compare ] || choices+=" --output" ;;
	*)	choices="--json --help" ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}
complete -o filenames -o default -F _anon_vma_lazy anon-vma-lazy
