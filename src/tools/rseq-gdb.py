# SPDX-License-Identifier: MIT
"""Critical sections of restartable sequences in gdb: rseq-info, rseq-sections, rseq-next.

A thread that is stopped in a section must not go on there: the kernel aborts it, but only if it
finds it there. Where gdb leads it out and back, to step over a breakpoint (displaced stepping) or
to call a function, the rest of the section runs without protection. rseq-next does neither: it runs
a section at full speed, and leads a thread that is stopped in one to its abort handler.
"""

import re
import struct

import gdb

DESCRIPTOR = struct.Struct("<IIQQQ")    # version, flags, start, length, abort
EXIT = struct.Struct("<QQ")             # start of a section, a target it leaves to

# Of struct rseq: cpu_id_start, cpu_id, rseq_cs, flags, node_id, mm_cid.
AREA = struct.Struct("<IIQIII")
ORIG_SIZE = 20


def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def elf_sections(name):
    """First and last address of each loaded ELF section of this name, of all objects."""
    line = re.compile(r"\s*(0x[0-9a-f]+) - (0x[0-9a-f]+) is (\S+)( in .*)?$")
    for text in gdb.execute("info files", to_string=True).splitlines():
        match = line.match(text)
        if match and match.group(3) == name:
            yield int(match.group(1), 16), int(match.group(2), 16)


def entries(name, layout):
    for first, end in elf_sections(name):
        data = read(first, (end - first) // layout.size * layout.size)
        for index, fields in enumerate(layout.iter_unpack(data)):
            yield first + index * layout.size, fields


class Section:
    """A critical section: where it begins, commits, and is left to."""

    def __init__(self, descriptor, start, end, abort):
        self.descriptor = descriptor
        self.start = start
        self.end = end
        self.abort = abort
        self.exits = set()

    def __contains__(self, pc):
        return self.start <= pc < self.end

    def name(self):
        """The operation, from the symbol of its abort handler."""
        symbol = gdb.execute("info symbol %d" % self.abort, to_string=True).split()[0]
        match = re.match(r"rseq_abort_(.*?)(_\d+)?$", symbol)
        return match.group(1) if match else "?"

    def place(self):
        line = gdb.find_pc_line(self.start)
        return "%s:%d" % (line.symtab.filename, line.line) if line.symtab else "?"

    def __str__(self):
        return "%s, 0x%x to 0x%x" % (self.name(), self.start, self.end)


def find_sections():
    """All sections, by address. Those of an object that is not relocated yet are left out."""
    found = {}
    for descriptor, (_, _, start, length, abort) in entries("__rseq_cs", DESCRIPTOR):
        if start and length and abort:
            found[start] = Section(descriptor, start, start + length, abort)
    for _, (start, target) in entries("__rseq_exit_point_array", EXIT):
        if start in found:
            found[start].exits.add(target)
    return [found[start] for start in sorted(found)]


def variable(name):
    """A word of eight bytes that a library defines, or None."""
    try:
        return int(gdb.parse_and_eval("*(long *)&%s" % name))
    except gdb.error:
        return None


def thread_pointer():
    for register in ("$fs_base", "$tpidr"):
        try:
            value = gdb.parse_and_eval(register)
            if value.type.code == gdb.TYPE_CODE_INT or int(value):
                return int(value) & (1 << 64) - 1
        except gdb.error:
            pass
    raise gdb.GdbError("gdb does not tell this thread's thread pointer")


def find_area():
    """The address of the selected thread's area, and whose it is."""
    own, libc = variable("rseq_offset"), variable("__rseq_offset")
    libc_size = variable("__rseq_size")
    libc_has_it = libc is not None and libc_size is not None and libc_size & 0xffffffff
    if own is None and not libc_has_it:
        raise gdb.GdbError("neither librseq nor a libc that registers threads is loaded")
    offset = libc if own is None else own
    owner = "libc" if libc_has_it and offset == libc else "librseq, or who defines __rseq_abi"
    return (thread_pointer() + offset) & (1 << 64) - 1, owner


def feature_size():
    size = variable("rseq_size")
    return ORIG_SIZE if size is None else size & 0xffffffff


def need_thread():
    if not gdb.selected_thread():
        raise gdb.GdbError("the program is not being run")


class Info(gdb.Command):
    """rseq-info: the selected thread's area, and the section that it is in."""

    def __init__(self):
        super().__init__("rseq-info", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        need_thread()
        address, owner = find_area()
        start_id, cpu, armed, _, node, mm_cid = AREA.unpack(read(address, AREA.size))
        sections = find_sections()
        pc = gdb.newest_frame().pc()
        if cpu >= 1 << 31:
            print("area 0x%x, not registered (cpu_id %d)" % (address, cpu - (1 << 32)))
        else:
            print("area 0x%x, of %s" % (address, owner))
            print("cpu_id %d, cpu_id_start %d" % (cpu, start_id), end="")
            size = feature_size()
            print(", node_id %d" % node if size >= 24 else "", end="")
            print(", mm_cid %d" % mm_cid if size >= 28 else "")
        last = [section for section in sections if section.descriptor == armed]
        print("rseq_cs 0x%x%s" % (armed, ": %s" % last[0] if last else ""))
        inside = [section for section in sections if pc in section]
        if inside:
            print("pc 0x%x is in %s: go on with rseq-next" % (pc, inside[0]))
        else:
            print("pc 0x%x is in no section" % pc)


class Sections(gdb.Command):
    """rseq-sections [REGEXP]: the program's critical sections, those whose operation or source
file matches."""

    def __init__(self):
        super().__init__("rseq-sections", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        wanted = re.compile(argument)
        sections = [(section, section.name(), section.place()) for section in find_sections()]
        sections = [each for each in sections
                    if wanted.search(each[1]) or wanted.search(each[2])]
        for section, name, place in sections:
            print("%s at %s: 0x%x to 0x%x, abort 0x%x%s" % (
                name, place, section.start, section.end, section.abort,
                "".join(", exit 0x%x" % target for target in sorted(section.exits))))
        print("%d sections%s" % (len(sections), "" if gdb.selected_thread() else
                                 "; more may show when the program is being run"))


def statements(symtab):
    """Where code of source lines begins: pairs of address and line, by address."""
    return sorted((entry.pc, entry.line) for entry in symtab.linetable() if entry.line)


def frames_of_function():
    """The newest frame, and those it was inlined into, up to the one of a real function."""
    frame = gdb.newest_frame()
    while frame.type() == gdb.INLINE_FRAME:
        yield frame
        frame = frame.older()
    yield frame


def end_of_line(frame, pc):
    """Where another line of the same file begins behind pc, in address order."""
    line = frame.find_sal()
    for address, number in statements(line.symtab):
        if address > pc and number != line.line:
            return address
    return pc


def section_ahead(sections, pc):
    """The first section of the line that pc is at, or None."""
    for frame in frames_of_function():
        if not frame.find_sal().symtab:
            continue
        end = end_of_line(frame, pc)
        for section in sections:
            if pc <= section.start < end:
                return section
    return None


def other_lines(sections, section):
    """Where this function goes on if it does not come to the section: its other lines, its caller."""
    frame = list(frames_of_function())[-1]
    line = frame.find_sal()
    block = frame.block()
    while block.function is None or block.superblock.function is not None:
        block = block.superblock
    addresses = {address for address, number in statements(line.symtab)
                 if block.start <= address < block.end and number != line.line}
    if frame.older():
        addresses.add(frame.older().pc())
    return {address for address in addresses
            if not any(address in other for other in sections)}


class Next(gdb.Command):
    """rseq-next: run the critical section that the current line has ahead, and stop behind it.

Says whether it committed, was left by an exit, or was aborted. A section that the program is
stopped in is aborted, as the kernel would. Where there is no section, this is next."""

    def __init__(self):
        super().__init__("rseq-next", gdb.COMMAND_RUNNING)

    def invoke(self, argument, from_tty):
        need_thread()
        sections = find_sections()
        pc = gdb.newest_frame().pc()
        for section in sections:
            if pc in section:
                gdb.execute("set $pc = %d" % section.abort)
                self.tell(section)
                return
        section = section_ahead(sections, pc)
        if not section:
            print("no section is ahead in this line")
            gdb.execute("next")
            return
        ends = {section.end, section.abort} | section.exits
        self.run_to(ends | other_lines(sections, section))
        if gdb.selected_thread():
            self.tell(section)

    @staticmethod
    def tell(section):
        """Where the program has stopped."""
        pc = gdb.newest_frame().pc()
        if pc == section.end:
            what = "committed"
        elif pc == section.abort:
            what = "aborted"
        elif pc in section.exits:
            what = "left without a commit"
        else:
            what = "not come to its end"
        print("%s: %s" % (section, what))
        gdb.execute("frame")

    @staticmethod
    def run_to(addresses):
        """Continues until the selected thread comes to one of them, or stops for another reason."""
        stops = []
        for address in addresses:
            stop = gdb.Breakpoint("*%d" % address, internal=True)
            stop.silent = True
            stop.thread = gdb.selected_thread().global_num
            stops.append(stop)
        try:
            gdb.execute("with displaced-stepping off -- continue", to_string=True)
        finally:
            for stop in stops:
                stop.delete()


Info()
Sections()
Next()
