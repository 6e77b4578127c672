package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Of the last answer that was a refusal.
var retryAfter atomic.Value

type failure struct {
	// `status`: the registry refused. `network`: it cannot be reached, or broke off. `local`: what is on this machine. `plain`: it speaks HTTP without TLS. `other`: none of these.
	Kind string `json:"kind"`
	// Of HTTP, where the registry refused; else 0.
	Status int `json:"status"`
	// The header's own words, or empty.
	RetryAfter string `json:"retryAfter"`
	// Without a query, in which a registry keeps its state.
	Message string `json:"message"`
}

// Something on this machine that the registry has no part in.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

func describe(err error) failure {
	after, _ := retryAfter.Load().(string)
	var local localError
	var answer *errcode.ErrorResponse
	var certificate *tls.CertificateVerificationError
	var transport *url.Error
	var connection net.Error
	switch {
	case errors.As(err, &local):
		return failure{Kind: "local", Message: err.Error()}
	case errors.As(err, &answer):
		what := http.StatusText(answer.StatusCode)
		if len(answer.Errors) > 0 {
			what = answer.Errors.Error()
		}
		message := fmt.Sprintf("%s %s: %d %s", answer.Method, answer.URL.Path, answer.StatusCode, what)
		return failure{Kind: "status", Status: answer.StatusCode, RetryAfter: after, Message: message}
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return failure{Kind: "status", Status: http.StatusUnauthorized, Message: "it asks for a user and a password"}
	case errors.Is(err, errdef.ErrNotFound):
		return failure{Kind: "status", Status: http.StatusNotFound, Message: err.Error()}
	case errors.Is(err, http.ErrSchemeMismatch):
		return failure{Kind: "plain", Message: "it speaks HTTP without TLS"}
	case errors.As(err, &certificate):
		return failure{Kind: "other", Message: certificate.Error()}
	case errors.As(err, &transport):
		return failure{Kind: "network", Message: fmt.Sprintf("%s %s: %v", transport.Op, pathOf(transport.URL), transport.Err)}
	case errors.As(err, &connection), errors.Is(err, io.ErrUnexpectedEOF):
		// In the middle of an answer.
		return failure{Kind: "network", Message: err.Error()}
	}
	return failure{Kind: "other", Message: err.Error()}
}

func pathOf(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return parsed.Path
}
