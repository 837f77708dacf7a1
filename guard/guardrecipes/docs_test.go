package guardrecipes_test

import (
	"os"
	"strings"
	"testing"
)

// TestTheGuideHasTheRecipesAsTheyAre: what docs/guard.md shows is what these
// tests run.
func TestTheGuideHasTheRecipesAsTheyAre(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guard.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, name := range map[string]string{"Kafka": "kafka.go", "RabbitMQ": "rabbitmq.go"} {
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(string(guide), "\n## "+heading+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		blocks := strings.Split(section, "```\n")
		if len(blocks) != 5 {
			t.Errorf("%s has %d blocks of code, want 2", heading, len(blocks)/2)
		}
		for i := 1; i < len(blocks); i += 2 {
			if !strings.Contains(string(code), blocks[i]) {
				t.Errorf("%s does not have this, which the guide shows:\n%s", name, blocks[i])
			}
		}
	}
}
