package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

type manifestRequest struct {
	// A tag or a digest.
	Reference string `json:"reference"`
}

type manifest struct {
	MediaType string `json:"mediaType"`
	Bytes     []byte `json:"bytes"`
}

const maxManifestBytes = 4 << 20

var manifestTypes = strings.Join([]string{
	ocispec.MediaTypeImageManifest,
	ocispec.MediaTypeImageIndex,
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
}, ", ")

// The bytes that the registry answers with, not compared with anything it says of them: that is for whoever asked. Null where there are none.
func readManifest(ctx context.Context, repository *remote.Repository, asked manifestRequest) (any, error) {
	scheme := "https"
	if repository.PlainHTTP {
		scheme = "http"
	}
	reference := repository.Reference
	path := fmt.Sprintf("/v2/%s/manifests/%s", reference.Repository, url.PathEscape(asked.Reference))
	ctx = auth.AppendRepositoryScope(ctx, reference, auth.ActionPull)
	question, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+reference.Host()+path, nil)
	if err != nil {
		return nil, err
	}
	question.Header.Set("Accept", manifestTypes)
	answer, err := repository.Client.Do(question)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusNotFound:
		return nil, nil
	case http.StatusOK:
	default:
		return nil, &errcode.ErrorResponse{Method: question.Method, URL: question.URL, StatusCode: answer.StatusCode}
	}
	bytes, err := io.ReadAll(io.LimitReader(answer.Body, maxManifestBytes+1))
	if err != nil {
		return nil, &url.Error{Op: "Get", URL: path, Err: err}
	}
	if len(bytes) > maxManifestBytes {
		return nil, fmt.Errorf("the manifest %s is larger than %d bytes", asked.Reference, maxManifestBytes)
	}
	return manifest{answer.Header.Get("Content-Type"), bytes}, nil
}

type tagRequest struct {
	// Of a manifest that is in the repository.
	Digest string `json:"digest"`
	Tag    string `json:"tag"`
}

// Sets a tag, wherever it was before.
func tag(ctx context.Context, repository *remote.Repository, asked tagRequest) (any, error) {
	target, err := repository.Resolve(ctx, asked.Digest)
	if err != nil {
		return nil, err
	}
	return map[string]any{}, repository.Tag(ctx, target, asked.Tag)
}
