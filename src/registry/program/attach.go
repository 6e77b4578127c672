package main

import (
	"bytes"
	"context"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"
)

type attachRequest struct {
	// Digest of the manifest in the repository that this tells of.
	Subject      string `json:"subject"`
	ArtifactType string `json:"artifactType"`
	// A file of a few megabytes at most.
	File      string `json:"file"`
	MediaType string `json:"mediaType"`
	Title     string `json:"title"`
	// RFC 3339. The same one makes the same manifest, so that it is attached once.
	Created string `json:"created"`
}

// Pushes a file as a referrer of a manifest: found by the referrers API, or where the registry has none, by the tag that stands in for it.
func attach(ctx context.Context, repository *remote.Repository, asked attachRequest) (any, error) {
	subject, err := repository.Resolve(ctx, asked.Subject)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(asked.File)
	if err != nil {
		return nil, localError{err}
	}
	blob := ocispec.Descriptor{
		MediaType:   asked.MediaType,
		Digest:      digest.FromBytes(data),
		Size:        int64(len(data)),
		Annotations: map[string]string{ocispec.AnnotationTitle: asked.Title},
	}
	there, err := repository.Exists(ctx, blob)
	if err != nil {
		return nil, err
	}
	if !there {
		if err := repository.Push(ctx, blob, bytes.NewReader(data)); err != nil {
			return nil, err
		}
	}
	options := oras.PackManifestOptions{
		Subject:             &subject,
		Layers:              []ocispec.Descriptor{blob},
		ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: asked.Created},
	}
	packed, err := oras.PackManifest(ctx, repository, oras.PackManifestVersion1_1, asked.ArtifactType, options)
	if err != nil {
		return nil, err
	}
	return map[string]any{"digest": packed.Digest.String()}, nil
}

type referrersRequest struct {
	Subject string `json:"subject"`
}

type referrer struct {
	Digest       string `json:"digest"`
	ArtifactType string `json:"artifactType"`
}

func listReferrers(ctx context.Context, repository *remote.Repository, asked referrersRequest) (any, error) {
	subject, err := repository.Resolve(ctx, asked.Subject)
	if err != nil {
		return nil, err
	}
	found := []referrer{}
	err = repository.Referrers(ctx, subject, "", func(page []ocispec.Descriptor) error {
		for _, one := range page {
			found = append(found, referrer{one.Digest.String(), one.ArtifactType})
		}
		return nil
	})
	return found, err
}
