"""The hot path: samples through the rules' operations, in machine code (decisions 0012 to 0014, 0016, 0117).

`codes` are the words that it shares with who writes code for it; `arrays` what it works on. From the outside in:
`faces`, which Python calls; `frames`, a batch; `run`, operations in a row; then what they do, to all cells of a block
(`cells`), over time (`functions`, most of them by `windows`), of several assets (`assets`), and to alarms
(`conditions`).

Rules that it obeys:
- Bit-identical results come first: no fastmath, no parallel, no function whose result depends on a library; a sum is
  made in the order that docs/rules.md gives.
- Tables and state are arguments, and what is called or named is in this folder: it is one program, compiled and kept
  as one (`compiling`).
- An operation goes over a block: neighbouring lanes, and samples that they all have. Where it remembers nothing it
  goes over all cells at once, else sample by sample. It gets whole arrays and row numbers, no slices.
  Unknown is NaN; a truth has two masks, true and false, made where they are needed.
- Only faces count references of arrays: to do so takes longer than an operation on one cell.
- The quiet path first: where nothing is true and every lane is normal, the rest of a rule is jumped over; all of it
  where the bounds of its numbers say already that nothing is true.
- Order of events: sample, then rule, then lane; the caller sorts them.
- Time is int64 nanoseconds; the caller has corrected it, sums can't overflow below 2**62.

`tests/rules/engine/twin.py` is the slow and obvious form of all this.
"""
