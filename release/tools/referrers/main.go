// A registry with the referrers API, for the referees of a release: that of go-containerregistry, whose own program leaves the API off.
package main

import (
	"log"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: referrers ADDRESS FOLDER")
	}
	server := &http.Server{
		Addr: os.Args[1],
		Handler: registry.New(
			registry.WithBlobHandler(registry.NewDiskBlobHandler(os.Args[2])),
			registry.WithReferrersSupport(true),
		),
		ReadHeaderTimeout: 5 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
