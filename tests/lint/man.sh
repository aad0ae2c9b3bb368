#!/bin/bash
# SPDX-License-Identifier: MIT
# The manual pages are well-formed.
set -u
cd "${top_srcdir:-$(dirname "$0")/../..}" || exit 1

mandoc=${MANDOC:-$(command -v mandoc)}
if [ -z "$mandoc" ]; then
	echo "skipped: mandoc is not installed"
	exit 77
fi
mapfile -t pages < <(find doc/man -name '*.[1-9]')
[ ${#pages[@]} -gt 0 ] || exit 0
exec "$mandoc" -T lint -W warning "${pages[@]}"
