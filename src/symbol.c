/* SPDX-License-Identifier: MIT */
/*
 * symbol.c: the areas that this library owns, and who else defines __rseq_abi.
 *
 * The dynamic linker binds every reference to __rseq_abi to the first definition it finds,
 * whatever its size. The one it found for this library is looked up in the symbol table of the
 * module whose thread-local storage it lies in.
 */
#include "internal.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

#define RSEQ_SYMBOL	"__rseq_abi"

/*
 * The symbol is weak, so that a static program that defines it links, and initialised, so that an
 * unregistered thread reads a negative CPU number.
 */
rseq_static_tls rseq_hidden __thread struct rseq_abi rseq_own_area
		__attribute__((aligned(RSEQ_OWN_AREA_SIZE))) = {
	.cpu_id = (uint32_t)RSEQ_ABI_CPU_ID_UNINITIALIZED,
};

extern RSEQ_API rseq_static_tls __thread struct rseq_abi __rseq_abi
		__attribute__((weak, alias("rseq_own_area")));

/*
 * An area that nobody else can find. It is registered with the V2 length, under which the kernel
 * kills a process that writes to what is the kernel's: a module that knows __rseq_abi, and that may
 * be loaded at any time, takes what it finds under that name for 32 bytes. And when rseq is off,
 * critical sections look here: it is never registered then, so that they take their slow path.
 */
static rseq_static_tls __thread struct rseq_abi private_area
		__attribute__((aligned(RSEQ_OWN_AREA_SIZE))) = {
	.cpu_id = (uint32_t)RSEQ_ABI_CPU_ID_UNINITIALIZED,
};

_Static_assert(sizeof(struct rseq_abi) == RSEQ_OWN_AREA_SIZE, "size of the area");

/* Compilers deduce alignment and inequality of a symbol that another module may replace. */
static uintptr_t launder(const void *address)
{
	uintptr_t value = (uintptr_t)address;

	__asm__ ("" : "+r" (value));
	return value;
}

uintptr_t rseq_private_area(void)
{
	return launder(&private_area);
}

struct search {
	uintptr_t winner;		/* what __rseq_abi is bound to */
	uintptr_t own;
	const char *own_module;
	struct rseq_symbol *symbol;
	bool in_library;		/* behind the first module, the program itself */
};

struct symbol_table {
	const ElfW(Sym) *symbols;
	const char *strings;
	const uint32_t *gnu_hash;
	const uint32_t *sysv_hash;
};

/* glibc relocates the addresses in the dynamic section in place; musl and the vdso do not. */
static const void *dynamic_address(const struct dl_phdr_info *module, ElfW(Addr) value)
{
	return (const void *)(value < module->dlpi_addr ? value + module->dlpi_addr : value);
}

static void read_dynamic(const struct dl_phdr_info *module, const ElfW(Phdr) *dynamic,
		struct symbol_table *table)
{
	const ElfW(Dyn) *entry = (const void *)(module->dlpi_addr + dynamic->p_vaddr);

	for (; entry->d_tag != DT_NULL; entry++) {
		const void *address = dynamic_address(module, entry->d_un.d_ptr);

		switch (entry->d_tag) {
		case DT_SYMTAB:
			table->symbols = address;
			break;
		case DT_STRTAB:
			table->strings = address;
			break;
		case DT_GNU_HASH:
			table->gnu_hash = address;
			break;
		case DT_HASH:
			table->sysv_hash = address;
			break;
		}
	}
}

static bool defines(const struct symbol_table *table, const ElfW(Sym) *symbol)
{
	return symbol->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol->st_info) == STT_TLS &&
	       !strcmp(table->strings + symbol->st_name, RSEQ_SYMBOL);
}

static const ElfW(Sym) *lookup_gnu(const struct symbol_table *table)
{
	const uint32_t *header = table->gnu_hash;
	uint32_t nr_buckets = header[0], first = header[1], bloom_words = header[2];
	const ElfW(Addr) *bloom = (const void *)(header + 4);
	const uint32_t *buckets = (const void *)(bloom + bloom_words);
	const uint32_t *chain = buckets + nr_buckets;
	const unsigned int bits = sizeof(ElfW(Addr)) * 8;
	uint32_t hash = 5381;
	ElfW(Addr) mask;

	for (const char *c = RSEQ_SYMBOL; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	if (!nr_buckets || !bloom_words)
		return NULL;
	mask = (ElfW(Addr))1 << (hash % bits) | (ElfW(Addr))1 << ((hash >> header[3]) % bits);
	if ((bloom[hash / bits % bloom_words] & mask) != mask)
		return NULL;
	for (uint32_t i = buckets[hash % nr_buckets]; i >= first && i; i++) {
		uint32_t entry = chain[i - first];

		if ((entry | 1) == (hash | 1) && defines(table, &table->symbols[i]))
			return &table->symbols[i];
		if (entry & 1)
			break;
	}
	return NULL;
}

static const ElfW(Sym) *lookup_sysv(const struct symbol_table *table)
{
	uint32_t nr_symbols = table->sysv_hash[1];

	for (uint32_t i = 1; i < nr_symbols; i++)
		if (defines(table, &table->symbols[i]))
			return &table->symbols[i];
	return NULL;
}

static const ElfW(Sym) *lookup(const struct dl_phdr_info *module, const ElfW(Phdr) *dynamic)
{
	struct symbol_table table = { NULL, NULL, NULL, NULL };

	read_dynamic(module, dynamic, &table);
	if (!table.symbols || !table.strings)
		return NULL;
	if (table.gnu_hash)
		return lookup_gnu(&table);
	return table.sysv_hash ? lookup_sysv(&table) : NULL;
}

/* The greatest power of two that divides both, up to a page: what holds in every thread. */
static unsigned int common_alignment(uintptr_t offset, uintptr_t align)
{
	uintptr_t bits = offset | align | 4096;

	return (unsigned int)(bits & -bits);
}

/*
 * Whether a new thread finds a negative CPU number there. An area that starts with zeros looks
 * registered, on CPU 0, to every section.
 */
static bool starts_unregistered(const struct dl_phdr_info *module, const ElfW(Phdr) *tls,
		uintptr_t offset)
{
	uintptr_t image = module->dlpi_addr + tls->p_vaddr + offset;
	int32_t cpu_id;

	offset += offsetof(struct rseq_abi, cpu_id);
	if (offset + sizeof(cpu_id) > tls->p_filesz)
		return false;
	memcpy(&cpu_id, (const char *)image + offsetof(struct rseq_abi, cpu_id), sizeof(cpu_id));
	return cpu_id < 0;
}

/* The winner lies in this module's thread-local storage, at offset. */
static void describe_winner(const struct dl_phdr_info *module, const ElfW(Phdr) *tls,
		const ElfW(Sym) *definition, uintptr_t offset, struct search *search)
{
	struct rseq_symbol *symbol = search->symbol;

	/* glibc has no name for the program, musl its path. */
	symbol->module = search->in_library && module->dlpi_name ? module->dlpi_name : "";
	symbol->align = common_alignment(tls->p_vaddr + offset, tls->p_align);
	if (search->winner == search->own) {
		symbol->origin = RSEQ_AREA_LIBRSEQ;
		symbol->size = RSEQ_OWN_AREA_SIZE;
	} else if (definition && definition->st_value == offset) {
		symbol->origin = RSEQ_AREA_INTERPOSED;
		symbol->size = (unsigned int)definition->st_size;
	} else {
		symbol->origin = RSEQ_AREA_ASSUMED;
		symbol->size = RSEQ_ABI_ORIG_SIZE;
	}
	if (!starts_unregistered(module, tls, offset))
		symbol->size = 0;
}

/* Every module has a dynamic section of its own, but for static programs, which have none. */
extern ElfW(Dyn) _DYNAMIC[] rseq_hidden __attribute__((weak));

static bool is_this_module(const struct dl_phdr_info *module, const ElfW(Phdr) *dynamic)
{
	return module->dlpi_addr + dynamic->p_vaddr == launder(_DYNAMIC);
}

static void look_into(const struct dl_phdr_info *module, size_t size, struct search *search)
{
	const ElfW(Phdr) *tls = NULL, *dynamic = NULL;
	const ElfW(Sym) *definition;
	uintptr_t block;

	for (size_t i = 0; i < module->dlpi_phnum; i++) {
		if (module->dlpi_phdr[i].p_type == PT_TLS)
			tls = &module->dlpi_phdr[i];
		else if (module->dlpi_phdr[i].p_type == PT_DYNAMIC)
			dynamic = &module->dlpi_phdr[i];
	}
	if (!tls || size < offsetof(struct dl_phdr_info, dlpi_tls_data) + sizeof(void *))
		return;
	definition = dynamic ? lookup(module, dynamic) : NULL;
	if (dynamic && is_this_module(module, dynamic))
		search->own_module = module->dlpi_name;
	block = (uintptr_t)module->dlpi_tls_data;
	/* glibc does not tell where the storage of a module is that dlopen() is still loading. */
	if (!block && definition && is_this_module(module, dynamic))
		block = search->own - definition->st_value;
	if (definition && !(block && search->own - block < tls->p_memsz))
		search->symbol->other_definitions++;
	if (block && search->winner - block < tls->p_memsz)
		describe_winner(module, tls, definition, search->winner - block, search);
}

static int visit_module(struct dl_phdr_info *module, size_t size, void *data)
{
	struct search *search = data;

	look_into(module, size, search);
	search->in_library = true;
	return 0;
}

/*
 * Storage that is registered must not become another module's: that of a copy of this library in a
 * plugin would, when the plugin is closed. The shared library is linked not to be unloaded. A
 * static program needs no dlopen(), and linkers warn of one that refers to it, be that weakly.
 */
static void stay_loaded(const char *module)
{
	void *(*open)(const char *name, int flags);

	if (!module || !*module)
		return;
	for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == DT_FLAGS_1 && (entry->d_un.d_val & DF_1_NODELETE))
			return;
	*(void **)&open = dlsym(RTLD_DEFAULT, "dlopen");
	if (open)
		open(module, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

static void use_own_area(struct search *search)
{
	struct rseq_symbol *symbol = search->symbol;

	if (search->winner != search->own)
		symbol->other_definitions += !symbol->other_definitions;
	symbol->origin = RSEQ_AREA_LIBRSEQ;
	symbol->size = RSEQ_OWN_AREA_SIZE;
	symbol->align = common_alignment(search->own, RSEQ_OWN_AREA_SIZE);
	symbol->module = NULL;
	symbol->address = search->own;
}

/*
 * Finds the area that __rseq_abi stands for. One that is too small, not aligned to 32 bytes in
 * every thread, or looks registered when it is not, is no area; then it is this library's own,
 * under no name that others could use.
 */
void rseq_find_symbol(struct rseq_symbol *symbol)
{
	struct search search = {
		.winner = launder(&__rseq_abi),
		.own = launder(&rseq_own_area),
		.symbol = symbol,
	};

	memset(symbol, 0, sizeof(*symbol));
	dl_iterate_phdr(visit_module, &search);
	symbol->address = search.winner;
	if (symbol->size < RSEQ_ABI_ORIG_SIZE || symbol->align < RSEQ_ABI_ORIG_SIZE)
		use_own_area(&search);
	if (symbol->origin == RSEQ_AREA_LIBRSEQ)
		stay_loaded(search.own_module);
}
