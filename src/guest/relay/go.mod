module kiln/relay

go 1.22
