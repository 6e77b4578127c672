#!/usr/bin/perl
# Makes a clone its own: every clone wakes with the template's random state, clock and identity.
# Standard input: 64 bytes of entropy, then one line "<seconds> <nanoseconds> <machine-id>".
use strict;
use warnings;

binmode STDIN;
read(STDIN, my $entropy, 64) == 64 or die "short entropy\n";
my ($seconds, $nanoseconds, $machine_id) = <STDIN> =~ /^(\d+) (\d+) ([0-9a-f]{32})$/ or die "bad line\n";

# RNDADDENTROPY credits the bytes, RNDRESEEDCRNG makes the kernel use them at once (linux/random.h).
open(my $random, '+<', '/dev/urandom') or die "urandom: $!\n";
ioctl($random, 0x40085203, pack('iia*', 512, 64, $entropy)) or die "RNDADDENTROPY: $!\n";
ioctl($random, 0x5207, 0) or die "RNDRESEEDCRNG: $!\n";

# clock_settime(CLOCK_REALTIME), 227 on x86-64.
syscall(227, 0, pack('qq', $seconds, $nanoseconds)) == 0 or die "clock: $!\n";

open(my $file, '>', '/etc/machine-id') or die "machine-id: $!\n";
print $file "$machine_id\n" and close($file) or die "machine-id: $!\n";
