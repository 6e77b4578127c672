#!/usr/bin/perl
# A VM of kiln's pool: pool.pl STATE QEMU ARGUMENTS…, in the VM's folder. kiln listens there on two sockets. `monitor` becomes
# QEMU's stdin and stdout, and the file STATE, unless it is `-`, its fd 3. On `door` one connection always waits: kiln writes a
# port and a newline on it, and is connected to that port of this container, which has no other network. Once `door` is closed
# kiln has let go of this VM, or is gone: then QEMU ends, whether or not the Docker engine answers.
use strict;
use warnings;
use POSIX ();
use Socket;

my ($state, @qemu) = @ARGV;
# As PID 1 it gets no signal that it does not ask for.
$SIG{TERM} = $SIG{INT} = sub { exit 143 };
$SIG{PIPE} = 'IGNORE';

sub dial {
  my ($name) = @_;
  socket(my $socket, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!\n";
  return connect($socket, pack_sockaddr_un($name)) ? $socket : undef;
}

my $monitor = dial('monitor') or die "kiln does not listen: $!\n";
my $pid = fork // die "fork: $!\n";
if ($pid == 0) {
  POSIX::dup2(fileno $monitor, $_) // die "dup2: $!\n" for 0, 1;
  if ($state ne '-') {
    open my $file, '<', $state or die "$state: $!\n";
    POSIX::dup2(fileno $file, 3) // die "dup2: $!\n";
  }
  # Beyond these three and the state nothing of this program is open in QEMU: perl closes the rest at exec.
  $SIG{$_} = 'DEFAULT' for qw(TERM INT PIPE);
  exec { $qemu[0] } @qemu or POSIX::_exit(127);
}
close $monitor;
$SIG{CHLD} = sub {
  while ((my $ended = waitpid -1, POSIX::WNOHANG) > 0) {
    next if $ended != $pid;
    exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
  }
};

sub read_port {
  my ($door) = @_;
  my $line = '';
  until ($line =~ /\n/) {
    my $got = sysread $door, $line, 1, length $line;
    next if !defined $got && $!{EINTR};
    return undef if !$got || length $line > 6;
  }
  return $line =~ /^(\d+)\n$/ ? $1 : undef;
}

# One direction of a connection, until its end.
sub pump {
  my ($from, $to) = @_;
  while (sysread $from, my $bytes, 65_536) {
    for (my $at = 0; $at < length $bytes;) {
      $at += (syswrite($to, $bytes, length($bytes) - $at, $at) // return);
    }
  }
}

sub join_up {
  my ($door, $port) = @_;
  $SIG{CHLD} = 'IGNORE';
  socket(my $guest, AF_INET, SOCK_STREAM, 0) or POSIX::_exit(1);
  connect($guest, pack_sockaddr_in($port, INADDR_LOOPBACK)) or POSIX::_exit(1);
  my $back = fork // POSIX::_exit(1);
  $back == 0 ? pump($guest, $door) : pump($door, $guest);
  # Whichever direction ends first ends both.
  shutdown $_, 2 for $door, $guest;
  POSIX::_exit(0);
}

while (my $door = dial('door')) {
  my $port = read_port($door) // last;
  my $child = fork // die "fork: $!\n";
  join_up($door, $port) if $child == 0;
}
kill KILL => $pid;
sleep 1 while 1;
