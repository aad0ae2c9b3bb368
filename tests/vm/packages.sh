#!/bin/bash
# SPDX-License-Identifier: MIT
# Kernels and other files out of Debian packages of any suite and architecture, kept in $vm_cache;
# nothing is installed, and the machine's own package lists are left alone. For sourcing by `run`.
# shellcheck disable=SC2034 # results are left in variables

vm_cache=${XDG_CACHE_HOME:-$HOME/.cache}/librseq-vm

# What Debian calls an architecture.
declare -A debian_arch=([x86_64]=amd64 [aarch64]=arm64 [source]=all)

list_hours=12			# a package list serves this long before it is fetched anew

# One process at a time writes there: this one, until unlock_cache, or who called it.
lock_cache() {
	mkdir -p "$vm_cache"
	[ -z "${VM_CACHE_LOCKED-}" ] || return 0
	exec 9>"$vm_cache/lock"
	flock 9
}

unlock_cache() {
	[ -n "${VM_CACHE_LOCKED-}" ] || exec 9>&-
}

# The mirror that this machine gets Debian from.
find_mirror() {
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
		'Label: Debian' | head -n 1
}

# Runs apt-get, or another tool of apt, on one suite and architecture.
suite_apt() { # suite, architecture, tool, arguments
	local state=$vm_cache/apt/$1-$2 mirror kind=deb
	if [ ! -e "$state/conf" ]; then
		mirror=$(find_mirror)
		[ -n "$mirror" ] || {
			echo "apt knows no Debian mirror on this machine" >&2
			return 1
		}
		mkdir -p "$state/lists/partial" "$state/archives/partial"
		[ "$2" != source ] || kind=deb-src
		echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
			"$mirror $1 main" >"$state/sources"
		# A mirror may be a snapshot of the past, hence Check-Valid-Until.
		cat >"$state/conf" <<-END
			APT::Architecture "${debian_arch[$2]}";
			APT::Architectures { "${debian_arch[$2]}"; };
			APT::Sandbox::User "root";
			Acquire::Check-Valid-Until "false";
			Acquire::Languages "none";
			Acquire::Retries "3";
			Dir::Etc::SourceList "$state/sources";
			Dir::Etc::SourceParts "/dev/null";
			Dir::Etc::Preferences "/dev/null";
			Dir::Etc::PreferencesParts "/dev/null";
			Dir::State "$state";
			Dir::State::status "/dev/null";
			Dir::Cache "$state";
		END
	fi
	APT_CONFIG=$state/conf "${@:3}"
}

# Fetches the list of packages unless it is there and fresh. An old list is better than none.
update_list() { # suite, architecture
	local state=$vm_cache/apt/$1-$2
	[ -z "$(find "$state/updated" -mmin -$((60 * list_hours)) 2>/dev/null)" ] || return 0
	if suite_apt "$1" "$2" apt-get -q update >"$vm_cache/apt.log" 2>&1; then
		touch "$state/updated"
	elif [ ! -e "$state/updated" ]; then
		sed -n 's/^[EW]: //p' "$vm_cache/apt.log" >&2
		return 1
	fi
}

# Unpacks those files of a package that match a pattern.
unpack() { # suite, architecture, package, directory, pattern
	local packages=$vm_cache/packages
	rm -rf "$packages"
	mkdir -p "$packages"
	(cd "$packages" && suite_apt "$1" "$2" apt-get -q download "$3") >"$vm_cache/apt.log" 2>&1 ||
		return 1
	dpkg-deb --fsys-tarfile "$packages"/*.deb | tar -x -C "$4" --wildcards "$5"
	rm -rf "$packages"
}

# Unpacks the source of a package, without Debian's changes.
unpack_source() { # suite, package, directory
	local packages=$vm_cache/packages
	update_list "$1" source || return 1
	rm -rf "$packages"
	mkdir -p "$packages" "$3"
	(cd "$packages" && suite_apt "$1" source apt-get -q source --download-only "$2") \
		>"$vm_cache/apt.log" 2>&1 || return 1
	tar -x -C "$3" --strip-components 1 -f "$packages"/*.orig.tar.?z
	rm -rf "$packages"
}

# Prints "VERSION PACKAGE" for each kernel that a suite has, in its variant for virtual machines.
# Since 6.19 the kernel itself is in linux-binary-..., and linux-image-... is empty.
list_kernels() { # suite, architecture
	suite_apt "$1" "$2" apt-cache pkgnames linux- | sed -nE "
		/^linux-(image|binary)-[0-9].*-cloud-${debian_arch[$2]}\$/ {
			h
			s/^linux-[a-z]*-([^+]*).*/\1/
			s/-cloud-.*//
			G
			s/\n/ /p
		}" | sort -k1,1V -k2,2r
}

# The newest kernel that matches: sets kernel to its file, or no_kernel to the reason why there is
# none. What is gone from the mirror may still be in the cache.
find_kernel() { # suite, architecture, pattern of the version
	local version package directory
	kernel='' no_kernel="no version $3 in $1"
	mkdir -p "$vm_cache/kernels"
	if update_list "$1" "$2"; then
		while read -r version package; do
			# shellcheck disable=SC2053 # a pattern it is
			[[ $version == $3 ]] && fetch_kernel "$1" "$2" "$version" "$package"
		done < <(list_kernels "$1" "$2" | tac)
	else
		no_kernel="no list of packages of $1"
	fi
	while [ -z "$kernel" ] && read -r directory; do
		version=${directory#"$vm_cache/kernels/$2-"}
		# shellcheck disable=SC2053
		[[ $version != $3 ]] || kernel=$directory/vmlinuz
	done < <(printf '%s\n' "$vm_cache/kernels/$2-"[0-9]* | sort -rV)
	[ -z "$kernel" ] || no_kernel=''
}

# Sets kernel unless it is set, or this package holds none.
fetch_kernel() { # suite, architecture, version, package
	local directory=$vm_cache/kernels/$2-$3 work
	[ -z "$kernel" ] || return 0
	if [ ! -e "$directory/vmlinuz" ]; then
		work=$(mktemp -d "$vm_cache/unpack.XXXXXX")
		unpack "$1" "$2" "$4" "$work" '*/vmlinuz*'
		mkdir -p "$directory"
		find "$work" -type f -name 'vmlinuz*' -exec mv {} "$directory/vmlinuz" \; -quit
		rm -rf "$work"
	fi
	if [ -s "$directory/vmlinuz" ]; then
		kernel=$directory/vmlinuz
	else
		rm -rf "$directory"
		no_kernel="$4 of $1 cannot be downloaded or unpacked"
	fi
}

# The libc of a suite, glibc unless it is musl: sets libc to the directory of its shared libraries,
# or no_libc to the reason why there is none.
find_libc() { # suite, architecture, package
	local package=${3:-libc6} version directory work
	libc='' no_libc="no list of packages of $1"
	update_list "$1" "$2" || return 0
	version=$(suite_apt "$1" "$2" apt-cache show "$package" | sed -n 's/^Version: //p' | head -n 1)
	directory=$vm_cache/libc/$2-${3:+$3-}$version
	if [ ! -e "$directory/libc.so.6" ] && [ ! -e "$directory/libc.so" ]; then
		rm -rf "$directory"
		mkdir -p "$directory"
		work=$(mktemp -d "$vm_cache/unpack.XXXXXX")
		unpack "$1" "$2" "$package" "$work" '*.so*'
		# The names that programs want may be links to names with a version.
		find "$work" \( -name gconv -o -name audit \) -prune -o -name '*.so*' ! -type d \
			-exec cp -L {} "$directory/" \; 2>/dev/null
		rm -rf "$work"
	fi
	if [ -e "$directory/libc.so.6" ] || [ -e "$directory/libc.so" ]; then
		libc=$directory no_libc=''
	else
		no_libc="$package of $1 cannot be downloaded or unpacked"
	fi
}

# Copies a program out of a package of static programs.
find_static_program() { # architecture, package, name, destination
	local file=$vm_cache/$3-$1 work
	if [ ! -x "$file" ]; then
		update_list bookworm "$1" || return 1
		work=$(mktemp -d "$vm_cache/unpack.XXXXXX")
		unpack bookworm "$1" "$2" "$work" "*bin/$3"
		find "$work" -type f -name "$3" -exec mv {} "$file" \;
		rm -rf "$work"
	fi
	cp "$file" "$4"
}
