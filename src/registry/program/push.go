package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"
)

type pushRequest struct {
	// An OCI image layout: its folder, or a tar of it.
	Source string `json:"source"`
	// Of a manifest in it.
	Digest string `json:"digest"`
}

type progress struct {
	// `pushing`, `pushed` and `there` are told of each blob, `sent` of all together.
	What   string `json:"what"`
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
}

const progressEvery = 10 * time.Second

// Pushes a manifest, by its digest alone, with all that it names and that is not there yet.
func push(ctx context.Context, repository *remote.Repository, asked pushRequest, out *json.Encoder) (any, error) {
	layout, err := openLayout(ctx, asked.Source)
	if err != nil {
		return nil, localError{err}
	}
	root, err := layout.Resolve(ctx, asked.Digest)
	if err != nil {
		return nil, localError{fmt.Errorf("%s in %s: %w", asked.Digest, asked.Source, err)}
	}
	source := &counted{ReadOnlyStorage: layout}
	lines := make(chan progress, 64)
	done := make(chan struct{})
	go tell(lines, source, out, done)
	report := func(what string) func(context.Context, ocispec.Descriptor) error {
		return func(_ context.Context, blob ocispec.Descriptor) error {
			lines <- progress{what, blob.Digest.String(), blob.Size}
			return nil
		}
	}
	options := oras.CopyGraphOptions{
		Concurrency:   2,
		PreCopy:       report("pushing"),
		PostCopy:      report("pushed"),
		OnCopySkipped: report("there"),
	}
	err = oras.CopyGraph(ctx, source, repository, root, options)
	close(lines)
	<-done
	return map[string]any{}, err
}

// A folder is read as it is; of a tar the library reads the blobs at their places.
func openLayout(ctx context.Context, path string) (*oci.ReadOnlyStore, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return oci.NewFromFS(ctx, os.DirFS(path))
	}
	return oci.NewFromTar(ctx, path)
}

// The one writer of lines while a push runs.
func tell(lines <-chan progress, source *counted, out *json.Encoder, done chan<- struct{}) {
	defer close(done)
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case line, more := <-lines:
			if !more {
				return
			}
			out.Encode(map[string]any{"progress": line})
		case <-ticker.C:
			out.Encode(map[string]any{"progress": progress{What: "sent", Bytes: source.bytes.Load()}})
		}
	}
}

// Counts what is read of a layout.
type counted struct {
	content.ReadOnlyStorage
	bytes atomic.Int64
}

func (c *counted) Fetch(ctx context.Context, blob ocispec.Descriptor) (io.ReadCloser, error) {
	reader, err := c.ReadOnlyStorage.Fetch(ctx, blob)
	if err != nil {
		return nil, localError{err}
	}
	return countedReader{reader, &c.bytes}, nil
}

type countedReader struct {
	io.ReadCloser
	bytes *atomic.Int64
}

func (r countedReader) Read(into []byte) (int, error) {
	count, err := r.ReadCloser.Read(into)
	r.bytes.Add(int64(count))
	return count, err
}
