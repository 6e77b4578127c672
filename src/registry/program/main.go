// Speaks to one repository of a container registry, by the OCI project's own library. It does one thing, told by one line of JSON on
// standard input, and answers in lines of JSON: progress, then a result or a failure. When and what, and what to do about a failure, is
// decided by whoever runs it (../registry.ts). It ends when its standard input does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

type request struct {
	// HOST[:PORT]/NAME.
	Repository string `json:"repository"`
	PlainHTTP  bool   `json:"plainHttp"`
	// A docker config.json, of which the `auths` are read; empty for none.
	Config string `json:"config"`
	// How long the registry may say nothing while an answer is waited for; longer than it may take nothing of what is sent.
	SilenceMs int64 `json:"silenceMs"`

	Push      *pushRequest      `json:"push"`
	Manifest  *manifestRequest  `json:"manifest"`
	Tag       *tagRequest       `json:"tag"`
	Attach    *attachRequest    `json:"attach"`
	Referrers *referrersRequest `json:"referrers"`
}

func main() {
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	if err != nil {
		os.Exit(2)
	}
	go endWithInput(input)
	out := json.NewEncoder(os.Stdout)
	result, err := run(context.Background(), line, out)
	if err != nil {
		out.Encode(map[string]any{"failure": describe(err)})
		return
	}
	out.Encode(map[string]any{"result": result})
}

func endWithInput(input *bufio.Reader) {
	for {
		if _, err := input.ReadByte(); err != nil {
			os.Exit(2)
		}
	}
}

func run(ctx context.Context, line []byte, out *json.Encoder) (any, error) {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return nil, err
	}
	repository, err := open(asked)
	if err != nil {
		return nil, err
	}
	switch {
	case asked.Push != nil:
		return push(ctx, repository, *asked.Push, out)
	case asked.Manifest != nil:
		return readManifest(ctx, repository, *asked.Manifest)
	case asked.Tag != nil:
		return tag(ctx, repository, *asked.Tag)
	case asked.Attach != nil:
		return attach(ctx, repository, *asked.Attach)
	case asked.Referrers != nil:
		return listReferrers(ctx, repository, *asked.Referrers)
	}
	return nil, errors.New("nothing is asked for")
}

func open(asked request) (*remote.Repository, error) {
	repository, err := remote.NewRepository(asked.Repository)
	if err != nil {
		return nil, err
	}
	client := &auth.Client{Client: newHTTPClient(time.Duration(asked.SilenceMs) * time.Millisecond), Cache: auth.NewCache(), ClientID: "kiln"}
	client.SetUserAgent("kiln")
	if asked.Config != "" {
		store, err := credentials.NewFileStore(asked.Config)
		if err != nil {
			return nil, localError{err}
		}
		client.Credential = credentials.Credential(store)
	}
	if asked.PlainHTTP {
		// Who gives tokens for a registry on this machine may be on it, too.
		client.BlockedRealmPrefixes = loopbackAllowed
	}
	repository.Client = client
	repository.PlainHTTP = asked.PlainHTTP
	// Nothing that was published is ever deleted, and many registries do not allow it.
	repository.SkipReferrersGC = true
	return repository, nil
}
