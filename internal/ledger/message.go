package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"countersign/internal/hold"
)

// message is the last message of a document's subject: a sealed value, or a mark that it was removed.
type message struct {
	key     string
	seq     uint64 // 0: there is no message
	removed bool
	data    []byte
}

// last asks the stream's leader, never another replica. The client's own look-up may be answered by any.
func (l *Ledger) last(ctx context.Context, key string) (message, error) {
	subject := l.bucket.subject(key)
	req, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return message{}, err
	}
	answer, err := l.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+l.bucket.stream, req)
	if err != nil {
		l.bucket.doubt(err)
		return message{}, err
	}
	var got struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Header  []byte `json:"hdrs"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return message{}, fmt.Errorf("read the answer of the ledger: %w", err)
	}
	switch {
	case got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return message{key: key}, nil
	case got.Error != nil:
		l.bucket.doubt(got.Error)
		return message{}, got.Error
	case got.Message == nil || got.Message.Subject != subject || got.Message.Seq == 0:
		return message{}, errors.New("the ledger's answer is not to the question")
	}
	m := message{key: key, seq: got.Message.Seq, data: got.Message.Data}
	if len(got.Message.Header) > 0 {
		h, err := nats.DecodeHeadersMsg(got.Message.Header)
		if err != nil {
			return message{}, fmt.Errorf("read the answer of the ledger: %w", err)
		}
		m.removed = isMark(h)
	}
	return m, nil
}

// absent looks again at a document that was not found. To the server one that the disk damaged is not found either, though it still
// counts it. There is one copy here, so nothing repairs it.
func (l *Ledger) absent(ctx context.Context, key string) (message, error) {
	facts := l.bucket.known.Load()
	if facts == nil {
		return message{}, jetstream.ErrStreamNotFound
	}
	subject := l.bucket.subject(key)
	info, err := facts.stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return message{}, err
	}
	m, err := l.last(ctx, key) // it may have come meanwhile
	if err == nil && m.seq == 0 && info.State.Subjects[subject] > 0 {
		err = fmt.Errorf("%w: %s: the disk damaged it", ErrUnauthentic, key)
	}
	return m, err
}

// isMark reports whether a message stands for a removal: ours, or the server's when a TTL passed.
func isMark(h nats.Header) bool {
	return h.Get(operationHeader) != "" || h.Get(jetstream.MarkerReasonHeader) != ""
}

// entry opens a message. A nil Value means that there is no document.
func (l *Ledger) entry(m message) (hold.Entry, error) {
	if m.seq == 0 || m.removed {
		if m.removed {
			l.seen.note(m.key, m.seq)
		}
		return hold.Entry{Key: m.key, Rev: m.seq}, nil
	}
	value, prev, err := l.box.open(m.key, m.data)
	if err == nil && prev >= m.seq {
		err = fmt.Errorf("%w: %s: it replaced what came later", ErrUnauthentic, m.key)
	}
	if err == nil {
		err = l.seen.admit(m.key, prev, m.seq)
	}
	if err != nil {
		return hold.Entry{}, err
	}
	return hold.Entry{Key: m.key, Value: value, Rev: m.seq}, nil
}
