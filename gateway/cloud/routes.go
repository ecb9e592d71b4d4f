package cloud

import (
	"encoding/json"
	"net/http"
	"time"

	"gardien/gateway"
	"gardien/gateway/web"
)

// The bodies of contract §4.
type (
	// GatewayEnrolment enrols a gateway.
	GatewayEnrolment struct {
		Code       string `json:"code"`
		Descriptor string `json:"descriptor"`
	}
	// GatewayUpdate replaces a descriptor.
	GatewayUpdate struct {
		Descriptor string `json:"descriptor"`
	}
	// IssuerEnrolment enrols an issuer.
	IssuerEnrolment struct {
		Code string           `json:"code"`
		Iss  gateway.IssuerID `json:"iss"`
		JWKS json.RawMessage  `json:"jwks"`
	}
	// IssuerUpdate replaces an issuer's key set, in a rotation.
	IssuerUpdate struct {
		JWKS json.RawMessage `json:"jwks"`
	}
	// Enrolled answers an enrolment.
	Enrolled struct {
		ID string `json:"id"`
	}
	// GatewayDescriptor answers an issuer's question.
	GatewayDescriptor struct {
		ID         gateway.GatewayID `json:"id"`
		Descriptor string            `json:"descriptor"`
	}
	// ItemWrite is an item as it is written.
	ItemWrite struct {
		Kind gateway.ItemKind `json:"kind"`
		Ver  int64            `json:"ver"`
		Exp  int64            `json:"exp"`
		Body string           `json:"body"`
	}
	// Written answers a write.
	Written struct {
		Seq int64 `json:"seq"`
	}
	// Fleet lists the gateways that listen to an issuer.
	Fleet struct {
		Gateways []gateway.Member `json:"gateways"`
	}
	// GoAway asks a stream to come back later.
	GoAway struct {
		RetryMS int64 `json:"retry_ms"`
	}
)

func (s *Service) routes() []route {
	problem := gateway.Problem{}
	return []route{
		{web.Route{Method: "GET", Path: "/v1/openapi.json", Summary: "This text", Open: true, Responses: map[int]any{200: map[string]any{}}}, anybody,
			func(r *request) error { web.Send(r.w, 200, "application/json", s.openapi); return nil }},
		{web.Route{Method: "POST", Path: "/v1/gateways", Summary: "Enrol a gateway with a one-time code", Open: true, Request: GatewayEnrolment{},
			Responses: map[int]any{201: Enrolled{}, 403: problem, 409: problem}}, anybody, s.enrolGateway},
		{web.Route{Method: "PUT", Path: "/v1/gateways/{gw}", Summary: "Replace the gateway's descriptor", Request: GatewayUpdate{},
			Responses: map[int]any{200: Enrolled{}, 409: problem}}, aGateway, s.updateGateway},
		{web.Route{Method: "GET", Path: "/v1/gateways/{gw}", Summary: "The descriptor of a gateway that listens to the issuer",
			Responses: map[int]any{200: GatewayDescriptor{}, 404: problem}}, anIssuer, s.descriptor},
		{web.Route{Method: "GET", Path: "/v1/gateways/{gw}/feed", Query: []string{"epoch", "after", "wait"},
			Summary:   "Changes after a position: text/event-stream with events item, head and goaway; or, with Accept: application/json and wait up to 55 s, one page",
			Responses: map[int]any{200: web.Kinds{web.EventStream: nil, "application/json": gateway.FeedPage{}}, 410: feedGone{}}}, aGateway, s.feed},
		{web.Route{Method: "GET", Path: "/v1/gateways/{gw}/snapshot", Summary: "All items, commands aside", Responses: map[int]any{200: gateway.FeedSnapshot{}}}, aGateway, s.snapshot},
		{web.Route{Method: "POST", Path: "/v1/gateways/{gw}/events", Summary: "Up to 200 sealed events of a log, dense by seq; an empty list asks what has come",
			Request: gateway.Upload{}, Responses: map[int]any{200: gateway.Receipt{}, 409: uploadGap{}}}, aGateway, s.upload},
		{web.Route{Method: "PUT", Path: "/v1/gateways/{gw}/items/{id}", Summary: "Write an item; a lower version, or an equal one with another body, is a conflict",
			Request: ItemWrite{}, Responses: map[int]any{201: Written{}, 200: Written{}, 403: problem, 404: problem, 409: versionConflict{}, 413: problem}}, anIssuer, s.putItem},
		{web.Route{Method: "POST", Path: "/v1/issuers", Summary: "Enrol an issuer with a one-time code", Open: true, Request: IssuerEnrolment{},
			Responses: map[int]any{201: Enrolled{}, 403: problem, 409: problem}}, anybody, s.enrolIssuer},
		{web.Route{Method: "PUT", Path: "/v1/issuers/{iss}", Summary: "Replace the issuer's key set, with an assertion by a present key", Request: IssuerUpdate{},
			Responses: map[int]any{200: Enrolled{}}}, anIssuer, s.updateIssuer},
		{web.Route{Method: "GET", Path: "/v1/issuers/{iss}/feed", Query: []string{"after"},
			Summary:   "Sealed events of the issuer's grants after a seq: text/event-stream with events event, presence, head and goaway; after=head begins with what is to come",
			Responses: map[int]any{200: web.Kinds{web.EventStream: nil}}}, anIssuer, s.issuerFeed},
		{web.Route{Method: "GET", Path: "/v1/issuers/{iss}/gateways", Summary: "The gateways that listen to the issuer, and where they stand",
			Responses: map[int]any{200: Fleet{}}}, anIssuer, s.fleet},
	}
}

func (s *Service) enrolGateway(r *request) error {
	var in GatewayEnrolment
	if err := r.read(maxBody, &in); err != nil {
		return err
	}
	reg, err := s.Tokens.Descriptor(in.Descriptor)
	if err != nil {
		return web.BadRequest("%v", err)
	}
	if err := s.Mailbox.Registry.EnrolGateway(r.Context(), gateway.NewSecret(in.Code), reg, r.now); err != nil {
		return err
	}
	return web.Reply(r.w, http.StatusCreated, Enrolled{string(reg.ID)})
}

func (s *Service) updateGateway(r *request) error {
	var in GatewayUpdate
	if err := r.read(maxBody, &in); err != nil {
		return err
	}
	reg, err := s.Tokens.Descriptor(in.Descriptor)
	if err != nil {
		return web.BadRequest("%v", err)
	}
	if reg.ID != r.gateway {
		return web.BadRequest("the descriptor is that of %s", reg.ID)
	}
	if err := s.Mailbox.Registry.UpdateGateway(r.Context(), reg); err != nil {
		return err
	}
	return web.Reply(r.w, http.StatusOK, Enrolled{string(reg.ID)})
}

func (s *Service) descriptor(r *request) error {
	gw := gateway.GatewayID(r.PathValue("gw"))
	listens, err := s.Mailbox.Registry.Listens(r.Context(), gw, r.issuer)
	if err != nil {
		return err
	}
	text, found, err := s.Mailbox.Registry.GatewayDescriptor(r.Context(), gw)
	if err != nil {
		return err
	}
	if !listens || !found {
		return notListed()
	}
	return web.Reply(r.w, http.StatusOK, GatewayDescriptor{gw, text})
}

func (s *Service) snapshot(r *request) error {
	leave, ok := s.limits.enter("s/"+string(r.gateway), 1)
	if !ok {
		return web.TooMany("at most one snapshot at once")
	}
	defer leave()
	snap, err := s.Mailbox.Feeds.Snapshot(r.Context(), r.gateway)
	if err != nil {
		return err
	}
	return web.Reply(r.w, http.StatusOK, snap)
}

func (s *Service) upload(r *request) error {
	var in gateway.Upload
	if err := r.read(gateway.MaxUpload, &in); err != nil {
		return err
	}
	if in.Log == "" || len(in.Log) > 64 {
		return web.BadRequest("log: want 1 to 64 characters")
	}
	if len(in.Head) > gateway.MaxHead {
		return web.BadRequest("head: at most %d bytes", gateway.MaxHead)
	}
	if len(in.Letters) > gateway.MaxLetters {
		return web.BadRequest("events: at most %d at once", gateway.MaxLetters)
	}
	for _, l := range in.Letters {
		if l.Seq < 1 || !l.To.Valid() || len(l.Body) > gateway.MaxItemBody || l.Body == "" {
			return web.BadRequest("event %d: want a seq from 1 on, an issuer in to, and a body of at most %d bytes", l.Seq, gateway.MaxItemBody)
		}
	}
	receipt, err := s.Mailbox.Letters.Upload(r.Context(), r.gateway, in, r.now)
	if err != nil {
		return err
	}
	s.metrics.letters.Add(float64(len(in.Letters)))
	return web.Reply(r.w, http.StatusOK, receipt)
}

func (s *Service) putItem(r *request) error {
	var in ItemWrite
	if err := r.read(maxBody, &in); err != nil {
		return err
	}
	i := gateway.Item{ID: r.PathValue("id"), Kind: in.Kind, Ver: in.Ver, Exp: in.Exp, Body: in.Body}
	switch {
	case !gateway.ValidItemID(i.ID):
		return web.BadRequest("the id is base64url of 16 bytes, in 22 characters")
	case !i.Kind.Valid():
		return web.BadRequest("kind %q is no name", i.Kind)
	case i.Ver < 1 || i.Ver > 1<<53-1:
		return web.BadRequest("ver: want an integer from 1 on")
	case i.Exp < gateway.MinTime.Unix() || i.Exp > gateway.MaxTime.Unix()+86400:
		return web.BadRequest("exp: want a NumericDate from 2020 to 2100")
	case i.Body == "":
		return web.BadRequest("body: it is missing")
	case len(i.Body) > gateway.MaxItemBody:
		return gateway.Fail(http.StatusRequestEntityTooLarge, "too-large", "body: %d bytes, more than %d", len(i.Body), gateway.MaxItemBody)
	case i.Kind == gateway.ItemCommand && i.Exp <= r.now.Unix():
		return web.BadRequest("the command is over already: set the clock")
	case i.Kind == gateway.ItemCommand && i.Exp > r.now.Add(gateway.CommandLife+time.Minute).Unix():
		return web.BadRequest("exp: a command lives for at most %s", gateway.CommandLife)
	}
	seq, isNew, err := s.Mailbox.Feeds.Put(r.Context(), gateway.GatewayID(r.PathValue("gw")), r.issuer, i, r.now)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if isNew {
		status = http.StatusCreated
		s.metrics.items.WithLabelValues(kindLabel(i.Kind)).Inc()
	}
	return web.Reply(r.w, status, Written{seq})
}

// kindLabel bounds what strangers can make of a label.
func kindLabel(k gateway.ItemKind) string {
	switch k {
	case gateway.ItemGrant, gateway.ItemCommand, gateway.ItemManifest, gateway.ItemKeys:
		return string(k)
	}
	return "other"
}

func (s *Service) enrolIssuer(r *request) error {
	var in IssuerEnrolment
	if err := r.read(maxBody, &in); err != nil {
		return err
	}
	if !in.Iss.Valid() || in.Iss == gateway.HomeIssuer || gateway.GatewayID(in.Iss).Valid() {
		return web.BadRequest("iss: want an issuer's id, as in colis-x.example")
	}
	keyID, err := s.Tokens.KeySet(in.JWKS)
	if err != nil {
		return web.BadRequest("jwks: %v", err)
	}
	if err := s.Mailbox.Registry.EnrolIssuer(r.Context(), gateway.NewSecret(in.Code), in.Iss, keyID, compactJSON(in.JWKS), r.now); err != nil {
		return err
	}
	return web.Reply(r.w, http.StatusCreated, Enrolled{string(in.Iss)})
}

func (s *Service) updateIssuer(r *request) error {
	var in IssuerUpdate
	if err := r.read(maxBody, &in); err != nil {
		return err
	}
	if _, err := s.Tokens.KeySet(in.JWKS); err != nil {
		return web.BadRequest("jwks: %v", err)
	}
	if err := s.Mailbox.Registry.UpdateIssuer(r.Context(), r.issuer, compactJSON(in.JWKS)); err != nil {
		return err
	}
	return web.Reply(r.w, http.StatusOK, Enrolled{string(r.issuer)})
}

// compactJSON gives valid JSON without white space, so that equal sets are equal texts.
func compactJSON(raw json.RawMessage) string {
	b, err := json.Marshal(raw)
	if err != nil {
		panic(err) // it was parsed already
	}
	return string(b)
}

func (s *Service) fleet(r *request) error {
	list, err := s.Mailbox.Presence.Fleet(r.Context(), r.issuer, time.Time{}, r.now)
	if err != nil {
		return err
	}
	return web.Reply(r.w, http.StatusOK, Fleet{list})
}
