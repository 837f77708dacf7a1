package onceq_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/onceq/onceq"
	"github.com/onceq/onceq/sqlitestore"
)

// sealer encrypts args with AES-GCM. Each code begins with the name of its
// key, so that what was encrypted with an earlier key can still be read.
type sealer struct {
	current string                 // the key that encrypts
	keys    map[string]cipher.AEAD // all that are still needed, by name
}

// newSealer takes keys of 16 or 32 bytes by name, as a key service has them.
func newSealer(current string, keys map[string][]byte) (*sealer, error) {
	s := &sealer{current: current, keys: map[string]cipher.AEAD{}}
	for name, key := range keys {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		if s.keys[name], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
	}
	if s.keys[current] == nil {
		return nil, errors.New("the current key is missing")
	}
	return s, nil
}

func (s *sealer) Name() string { return "aes-gcm/" + s.current }

func (s *sealer) Encode(_ context.Context, kind string, args []byte) ([]byte, error) {
	head := []byte(s.current + ":")
	return s.keys[s.current].Seal(head, nil, args, []byte(kind)), nil
}

func (s *sealer) Decode(_ context.Context, kind string, code []byte) ([]byte, error) {
	name, sealed, _ := strings.Cut(string(code), ":")
	key := s.keys[name]
	if key == nil {
		return nil, fmt.Errorf("there is no key %q", name)
	}
	return key.Open(nil, nil, []byte(sealed), []byte(kind))
}

// Args are encrypted in the store. To change the key: first give both keys to
// all programs, then let the new one encrypt, and take the old one away when
// no job has it any more.
func ExampleCodec() {
	store, err := sqlitestore.Open(":memory:", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	ctx := context.Background()
	keys := map[string][]byte{"october": make([]byte, 32), "november": make([]byte, 32)}
	for _, key := range keys {
		rand.Read(key)
	}
	clientWith := func(current string) *onceq.Client {
		codec, err := newSealer(current, keys)
		if err != nil {
			log.Fatal(err)
		}
		client, err := onceq.NewClient(store, &onceq.Config{Codec: codec})
		if err != nil {
			log.Fatal(err)
		}
		return client
	}

	before := clientWith("october")
	defer before.Close()
	first, err := before.Enqueue(ctx, Reindex{Repo: 42}, onceq.Unique{})
	if err != nil {
		log.Fatal(err)
	}
	after := clientWith("november")
	defer after.Close()
	second, err := after.Enqueue(ctx, Reindex{Repo: 42}, onceq.Unique{}) // another key, the same job
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(first.Outcome, second.Outcome, second.Conflict.ArgsDiffer)
	fmt.Println(second.Job.EncodedBy(), strings.HasPrefix(second.Job.KeyText, "sha256:"))

	worker, err := onceq.NewWorker(store, &onceq.WorkerConfig{Client: after, Drain: true})
	if err != nil {
		log.Fatal(err)
	}
	onceq.Handle(worker, func(_ context.Context, job *onceq.Job[Reindex]) error {
		fmt.Println("reindex", job.Args.Repo)
		return nil
	})
	if err := worker.Run(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// inserted skipped false
	// aes-gcm/october true
	// reindex 42
}
