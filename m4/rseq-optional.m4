# SPDX-License-Identifier: MIT

# RSEQ_OPTIONAL(NAME, MODULES, INCLUDES, STATEMENT)
#
# Looks for pkg-config MODULES and links STATEMENT with them. The link matters when cross compiling:
# pkg-config may well answer for the build machine's libraries.
# Sets NAME_CFLAGS and NAME_LIBS, rseq_have_NAME (yes or no) and the conditional HAVE_NAME.
AC_DEFUN([RSEQ_OPTIONAL], [
	PKG_CHECK_MODULES([$1], [$2], [rseq_have_$1=yes], [rseq_have_$1=no])
	AS_IF([test "$rseq_have_$1" = yes], [
		AC_MSG_CHECKING([whether programs link with $2])
		rseq_save_CFLAGS=$CFLAGS
		rseq_save_LIBS=$LIBS
		CFLAGS="$CFLAGS $$1_CFLAGS"
		LIBS="$$1_LIBS $LIBS"
		AC_LINK_IFELSE([AC_LANG_PROGRAM([$3], [$4])], [], [rseq_have_$1=no])
		CFLAGS=$rseq_save_CFLAGS
		LIBS=$rseq_save_LIBS
		AC_MSG_RESULT([$rseq_have_$1])
	])
	AM_CONDITIONAL([HAVE_$1], [test "$rseq_have_$1" = yes])
])
