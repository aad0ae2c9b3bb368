# SPDX-License-Identifier: MIT
# What gdb.sh has gdb do with the program debugged.

import re

import gdb

SOURCE = gdb.lookup_global_symbol("main").symtab.filename


def run(command):
    return gdb.execute(command, to_string=True)


def check(condition, *what):
    if not condition:
        print("FAILED:", *what)
        gdb.execute("quit 1")


def line_of(tag):
    with open(gdb.lookup_global_symbol("main").symtab.fullname(), encoding="utf-8") as source:
        return [text.endswith("/* %s */\n" % tag) for text in source].index(True) + 1


def total():
    return int(gdb.parse_and_eval("((long (*)(void *))rseq_counter_sum)(counter)"))


def go_to(breakpoint):
    run("continue")
    check(breakpoint.is_valid() and gdb.selected_thread(), "the program has ended")


def go_to_line(tag):
    """To the line of this round, unless the program is there."""
    here, line = gdb.newest_frame().find_sal(), line_of(tag)
    if here.symtab and here.symtab.filename == SOURCE and here.line == line:
        return
    run("tbreak %s:%d" % (SOURCE, line))
    run("continue")


def next_over(section):
    """rseq-next; returns whether the section committed, and has stopped where it says."""
    said = run("rseq-next")
    match = re.match(r"%s, 0x[0-9a-f]+ to 0x([0-9a-f]+): (committed|aborted)\n" % section, said)
    check(match, "rseq-next says", repr(said))
    committed = match.group(2) == "committed"
    at_end = gdb.newest_frame().pc() == int(match.group(1), 16)
    check(committed == at_end, "rseq-next says %s, and is at 0x%x" % (
        repr(said), gdb.newest_frame().pc()))
    return committed


def next_behind_sections():
    """From the first line of a round on: each of its sections, by rseq-next."""
    nr_committed = 0
    before = total()
    committed = next_over("counter_add")
    check(total() == before + committed, "the counter stands at", total(), "after", before)
    nr_committed += committed
    go_to_line("push")
    nr_committed += next_over("list_push")
    go_to_line("pop")
    nr_committed += next_over("list_pop")
    return nr_committed


def stop_within(first):
    """A section that the program is stopped in is aborted, and its operation done all the same."""
    section = re.search(r"^counter_add at \S+: (0x[0-9a-f]+) to", run("rseq-sections counter_add"),
                        re.M)
    check(section, "no section of counter_add")
    within = gdb.Breakpoint("*" + section.group(1))
    before = total()
    run("continue")
    check("is in counter_add" in run("rseq-info"), "not in a section:", run("rseq-info"))
    check(not next_over("counter_add"), "a section was not aborted")
    check(total() == before, "an aborted section has committed")
    go_to(first)
    check(total() == before + 1, "a round has added", total() - before)
    run("set displaced-stepping off")
    go_to(within)
    go_to(first)
    check(total() == before + 2, "two rounds have added", total() - before)
    run("set displaced-stepping auto")
    within.delete()


def step_lines(first):
    """next, as one who knows nothing of sections. It may stop in an abort handler."""
    before, hits = total(), first.hit_count
    for _ in range(40):
        run("next")
        if first.hit_count > hits:
            break
    check(first.hit_count == hits + 1, "next does not come to the next round")
    check(total() == before + 1, "a round of next has added", total() - before)


def main():
    run("set confirm off")
    run("set pagination off")
    first = gdb.Breakpoint("%s:%d" % (SOURCE, line_of("add")))
    run("run")
    check(gdb.selected_thread(), "the program does not start")
    if "not registered" in run("rseq-info"):
        print("this thread has no rseq")
        gdb.execute("quit 77")
    for name in ("counter_add", "list_push", "list_pop"):
        check(re.search("^%s at .*: 0x" % name, run("rseq-sections"), re.M), "no", name)
    nr_committed = 0
    for _ in range(10):
        nr_committed += next_behind_sections()
        go_to(first)
    check(nr_committed, "nothing was committed")
    stop_within(first)
    step_lines(first)
    first.delete()
    go_to_line("compare")
    check("no section is ahead" in run("rseq-next"), "a section ahead of none")
    run("continue")
    code = gdb.parse_and_eval("$_exitcode")
    check(code.type.code == gdb.TYPE_CODE_INT and code == 0, "the program exits with", code)
    print("%d of 30 sections committed" % nr_committed)


try:
    main()
except gdb.error as error:
    print("FAILED:", error)
    gdb.execute("quit 1")
