#!/bin/bash
# SPDX-License-Identifier: MIT
# What a virtual machine starts with: shells, the installed library, the test programs, and the
# shared libraries that these need. For sourcing by `run`.

# Value of a variable in the Makefile of a build tree.
make_variable() { # build tree, variable
	sed -n "s/^$2 = //p" "$1/Makefile" | head -n 1
}

# A shared library of $libc, a directory, or else where the compiler of a build tree finds it; the
# name alone if that does not.
libc_file() { # build tree, name
	local compiler
	if [ -n "$libc" ] && [ -e "$libc/$2" ]; then
		echo "$libc/$2"
		return
	fi
	read -ra compiler <<<"$(make_variable "$1" CC)"
	"${compiler[@]}" "-print-file-name=$2"
}

# Copies one shared library into the image, if it is not there.
add_library() { # build tree, image, name, directories to look into
	local directory file
	[ -z "$(find "$2/lib" "$2/usr" -name "$3" -print -quit)" ] || return 0
	for directory in "${@:4}"; do
		file=$directory/$3
		[ ! -e "$file" ] || break
	done
	[ -e "${file:-}" ] || file=$(libc_file "$1" "$3")
	[ -e "$file" ] || {
		echo "no $3 for the virtual machine"
		return 1
	}
	cp -L "$file" "$2/lib/$3"
	add_needed "$1" "$2" "$2/lib/$3"
}

# Copies what a file in the image needs, if it is an ELF file: the dynamic linker, under the path
# at which programs want it, and shared libraries.
add_needed() { # build tree, image, file
	local headers interpreter library directories
	headers=$(readelf -ld "$3" 2>/dev/null) || return 0
	interpreter=$(sed -n 's/.*program interpreter: \(.*\)\]/\1/p' <<<"$headers")
	if [ -n "$interpreter" ] && [ ! -e "$2$interpreter" ]; then
		mkdir -p "$2${interpreter%/*}"
		cp -L "$(libc_file "$1" "${interpreter##*/}")" "$2$interpreter" || return 1
	fi
	IFS=: read -ra directories < <(sed -n 's/.*(RUNPATH).*\[\(.*\)\]/\1/p' <<<"$headers")
	while read -r library; do
		add_library "$1" "$2" "$library" "${directories[@]}" || return 1
	done < <(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$headers")
}

# Copies a test program, or a file for one, out of the source or the build tree. Where libtool
# made a script that starts it, the program itself is beside that.
add_file() { # source tree, build tree, image, path
	local file
	for file in "$1/$4" "$2/${4%/*}/.libs/${4##*/}" "$2/$4"; do
		[ -e "$file" ] || continue
		mkdir -p "$3/${4%/*}"
		cp "$file" "$3/$4"
		return
	done
	echo "no $4 in the source tree or in $2"
	return 1
}

# Which libc programs in an image use.
libc_name() { # image
	grep -aoE 'GNU C Library .* release version [0-9.]*[0-9]' "$1/lib/libc.so.6" |
		sed 's/.* version /glibc /'
}

# Makes the first file system of virtual machines, which lacks only a cell's own list of jobs.
make_image() { # architecture, source tree, build tree, file to write, files
	local build=$3 image=$4.tree file
	rm -rf "$image"
	mkdir -p "$image/bin" "$image/lib" "$image/usr"
	find_static_program "$1" busybox-static busybox "$image/bin/busybox" &&
		find_static_program "$1" bash-static bash-static "$image/bin/bash" || return 1
	cp "$2/tests/vm/init" "$image/"
	make -C "$build" install-exec DESTDIR="$image" prefix=/usr exec_prefix=/usr \
		bindir=/usr/bin libdir=/usr/lib || return 1
	find "$image/usr" \( -name '*.a' -o -name '*.la' \) -delete
	for file in "${@:5}"; do
		add_file "$2" "$build" "$image" "$file" || return 1
	done
	while read -r file; do
		add_needed "$build" "$image" "$image/$file" || return 1
	done < <(cd "$image" && find usr "${@:5}" -type f)
	# glibc loads it when a thread is cancelled or ends itself.
	[ ! -e "$image/lib/libc.so.6" ] || add_library "$build" "$image" libgcc_s.so.1 || return 1
	libc_name "$image" >"${4%.image}.libc"
	(cd "$image" && find . | cpio -o -H newc -R 0:0 --quiet) >"$4"
	rm -rf "$image"
}
