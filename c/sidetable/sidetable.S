# The side table in LLVM's assembly. What it does, and why, is told in sidetable.c; the functions here are in
# the same order. docs/sidetable.md has the interface.

#define EMPTY -1
#define LIVE 0xA9D3517E
#define NOT_ALIGNED 15
#define CELL 8
#define HANDLE 0
#define NEXT 4
#define CHECK 4

	.functype	malloc (i32) -> (i32)
	.functype	free (i32) -> ()

	.functype	invoke (externref) -> ()
	.import_module	invoke, rt
	.import_name	invoke, invoke
	.functype	out_of_memory () -> ()
	.import_module	out_of_memory, rt
	.import_name	out_of_memory, out_of_memory

	.tabletype	objects, externref
objects:

# The address of the first node, 0 for none.
	.globaltype	free_list, i32
free_list:

	.text

# Puts a node for a handle in front of a list: the node, or 0 without memory.
	.type	push,@function
push:
	.functype	push (i32, i32) -> (i32)
	.local	i32
	i32.const	CELL
	call	malloc
	local.tee	2
	if
	local.get	2
	local.get	1
	i32.store	HANDLE
	local.get	2
	local.get	0
	i32.store	NEXT
	end_if
	local.get	2
	end_function

# Frees the nodes of a list.
	.type	drop_list,@function
drop_list:
	.functype	drop_list (i32) -> ()
	.local	i32
	loop
	local.get	0
	if
	local.get	0
	i32.load	NEXT
	local.set	1
	local.get	0
	call	free
	local.get	1
	local.set	0
	br	1
	end_if
	end_loop
	end_function

# Adds half as many handles again, and one: the first of them, or EMPTY, and nothing has changed. Locals: the
# table's size, how many more, a handle, the list of nodes, the longer list.
	.type	expand,@function
expand:
	.functype	expand () -> (i32)
	.local	i32, i32, i32, i32, i32
	table.size	objects
	local.tee	0
	i32.const	1
	i32.shr_u
	i32.const	1
	i32.add
	local.tee	1
	local.get	0
	i32.add
	local.set	2
	block
	loop
	local.get	2
	i32.const	1
	i32.sub
	local.tee	2
	local.get	0
	i32.gt_s
	if
	local.get	3
	local.get	2
	call	push
	local.tee	4
	i32.eqz
	br_if	2
	local.get	4
	local.set	3
	br	1
	end_if
	end_loop
	ref.null_extern
	local.get	1
	table.grow	objects
	i32.const	-1
	i32.eq
	br_if	0
	local.get	3
	global.set	free_list
	local.get	0
	return
	end_block
	local.get	3
	call	drop_list
	i32.const	EMPTY
	end_function

# A handle that is not in use, or EMPTY. Locals: the node, the handle.
	.type	take_handle,@function
take_handle:
	.functype	take_handle () -> (i32)
	.local	i32, i32
	global.get	free_list
	local.tee	0
	i32.eqz
	if
	call	expand
	return
	end_if
	local.get	0
	i32.load	HANDLE
	local.set	1
	local.get	0
	i32.load	NEXT
	global.set	free_list
	local.get	0
	call	free
	local.get	1
	end_function

# Traps unless the address is that of an object.
	.type	check,@function
check:
	.functype	check (i32) -> ()
	local.get	0
	i32.const	NOT_ALIGNED
	i32.and
	if
	unreachable
	end_if
	local.get	0
	i32.load	CHECK
	local.get	0
	i32.const	LIVE
	i32.xor
	i32.ne
	if
	unreachable
	end_if
	end_function

	.globl	make_obj
	.export_name	make_obj, make_obj
	.type	make_obj,@function
make_obj:
	.functype	make_obj () -> (i32)
	.local	i32
	i32.const	CELL
	call	malloc
	local.tee	0
	i32.eqz
	if
	call	out_of_memory
	i32.const	0
	return
	end_if
	local.get	0
	i32.const	EMPTY
	i32.store	HANDLE
	local.get	0
	local.get	0
	i32.const	LIVE
	i32.xor
	i32.store	CHECK
	local.get	0
	end_function

	.globl	free_obj
	.export_name	free_obj, free_obj
	.type	free_obj,@function
free_obj:
	.functype	free_obj (i32) -> ()
	.local	i32
	local.get	0
	call	check
	local.get	0
	i32.load	HANDLE
	local.tee	1
	i32.const	EMPTY
	i32.eq
	if
	local.get	0
	i32.const	0
	i32.store	CHECK
	local.get	0
	call	free
	return
	end_if
	local.get	1
	ref.null_extern
	table.set	objects
	local.get	0
	global.get	free_list
	i32.store	NEXT
	local.get	0
	global.set	free_list
	end_function

	.globl	attach_callback
	.export_name	attach_callback, attach_callback
	.type	attach_callback,@function
attach_callback:
	.functype	attach_callback (i32, externref) -> ()
	.local	i32
	local.get	0
	call	check
	local.get	0
	i32.load	HANDLE
	local.tee	2
	i32.const	EMPTY
	i32.eq
	if
	call	take_handle
	local.tee	2
	i32.const	EMPTY
	i32.eq
	if
	call	out_of_memory
	return
	end_if
	local.get	0
	local.get	2
	i32.store	HANDLE
	end_if
	local.get	2
	local.get	1
	table.set	objects
	end_function

	.globl	invoke_callback
	.export_name	invoke_callback, invoke_callback
	.type	invoke_callback,@function
invoke_callback:
	.functype	invoke_callback (i32) -> ()
	.local	i32
	local.get	0
	call	check
	local.get	0
	i32.load	HANDLE
	local.tee	1
	i32.const	EMPTY
	i32.eq
	if
	ref.null_extern
	call	invoke
	return
	end_if
	local.get	1
	table.get	objects
	call	invoke
	end_function
