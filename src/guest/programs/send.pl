#!/usr/bin/perl
# Sends on two growing files, the first to standard error and the second to standard output, until standard input ends and all
# that they have is sent.
#
# Their writer must not wait for whoever reads them, and not share its processor with a program that is woken for each of its
# lines: growth wakes this one at once, then not before 10 ms have passed.
#
# Each time it also looks at how much room the disk has, as what fills it may be gone when the build has ended. What was least of all, in
# bytes, is in the end in the third file, which is not on that disk; a disk without room for further files has none.
use strict;
use warnings;

# inotify(7), on x86-64.
my ($INOTIFY_INIT1, $INOTIFY_ADD_WATCH, $IN_NONBLOCK, $IN_MODIFY) = (294, 254, 04000, 2);
# statfs(2), on x86-64.
my $STATFS = 137;
my $FEW_FILES = 16;
my $TURN_SECONDS = 0.01;
# So that neither file waits long for the other.
my $MAX_TURN_BYTES = 1 << 20;

my $descriptor = syscall($INOTIFY_INIT1, $IN_NONBLOCK);
die "inotify: $!\n" if $descriptor < 0;
open(my $changes, '<&=', $descriptor) or die "inotify: $!\n";
my @ways = map { [open_watched($_->[0]), $_->[1]] } [$ARGV[0], \*STDERR], [$ARGV[1], \*STDOUT];

my $ended = 0;
my $least_free;
for (;;) {
    my $moved = 0;
    look_at_room();
    $moved += send_on(@$_) for @ways;
    if ($moved) {
        select(undef, undef, undef, $TURN_SECONDS);
        next;
    }
    last if $ended;
    my $ready = '';
    vec($ready, fileno($_), 1) = 1 for $changes, \*STDIN;
    select($ready, undef, undef, undef);
    $ended = 1 if vec($ready, fileno(STDIN), 1);
    # What changed is seen in the files.
    1 while sysread($changes, my $events, 4096);
}

open(my $told, '>', $ARGV[2]) or die "$ARGV[2]: $!\n";
print $told $least_free // 'null', "\n";
close($told);

sub look_at_room {
    my ($folder, $stat) = ('/', "\0" x 120);
    return if syscall($STATFS, $folder, $stat) != 0;
    my (undef, $block_bytes, undef, undef, $free_blocks, $files, $free_files) = unpack('q7', $stat);
    my $free = $files > 0 && $free_files < $FEW_FILES ? 0 : $block_bytes * $free_blocks;
    $least_free = $free if !defined $least_free || $free < $least_free;
}

sub open_watched {
    my ($path) = @_;
    open(my $file, '<:raw', $path) or die "$path: $!\n";
    syscall($INOTIFY_ADD_WATCH, $descriptor, $path, $IN_MODIFY) >= 0 or die "$path: $!\n";
    return $file;
}

sub send_on {
    my ($from, $to) = @_;
    my $moved = 0;
    while ($moved < $MAX_TURN_BYTES and my $length = sysread($from, my $bytes, 65536)) {
        for (my $sent = 0; $sent < $length;) {
            $sent += syswrite($to, $bytes, $length - $sent, $sent) // die "write: $!\n";
        }
        $moved += $length;
    }
    return $moved;
}
