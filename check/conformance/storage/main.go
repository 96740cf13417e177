// An object storage for tests that speaks S3: it holds what lies in a directory, a folder per bucket, and, if a key is
// given, checks the signature of every request.
//
//	storage <listen> <directory> [<access key id> <secret>]
package main

import (
	"context"
	"io/fs"
	"log"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

func main() {
	listen, directory := os.Args[1], os.Args[2]
	backend := s3mem.New()
	if err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == directory {
			return err
		}
		name, err := filepath.Rel(directory, path)
		if err != nil {
			return err
		}
		bucket, key, below := strings.Cut(name, "/")
		switch {
		case !below:
			return backend.CreateBucket(context.Background(), bucket)
		case entry.IsDir():
			return nil
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		facts, err := file.Stat()
		if err != nil {
			return err
		}
		meta := map[string]string{
			"Content-Type":  mime.TypeByExtension(filepath.Ext(path)),
			"Last-Modified": facts.ModTime().UTC().Format(http.TimeFormat),
		}
		_, err = backend.PutObject(context.Background(), bucket, key, meta, file, facts.Size())
		return err
	}); err != nil {
		log.Fatal(err)
	}
	var options []gofakes3.Option
	if len(os.Args) == 5 {
		options = append(options, gofakes3.WithV4Auth(map[string]string{os.Args[3]: os.Args[4]}))
	}
	log.Fatal(http.ListenAndServe(listen, gofakes3.New(backend, options...).Server()))
}
