# The two commands of the README are `make demo` and `make test`; both install what they need.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test soak lint bench docs

help: ## Show what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: ## Make a machine here, make it a node, launch a Binder on it
	@bootstrap/demo

demo-down: ## Take the demo's machine and its world away
	@bootstrap/demo down

test: ## Lint, types, then every test: unit, integration, and a whole node
	@bootstrap/test

soak: ## The tests that take long, each by itself
	@bootstrap/prepare uv packages testbed
	uv run --frozen pytest -m soak tests/integration tests/node

lint: ## Format, style and types
	@bootstrap/prepare uv
	uv run --frozen ruff format --check .
	uv run --frozen ruff check .
	uv run --frozen mypy

bench: ## Compare: start-up, a second `up` with plain pyinfra, image stores
	@bootstrap/prepare uv packages testbed
	uv run --frozen python -m tests.bench

docs: ## Build the documentation into site/
	@bootstrap/prepare uv
	NO_MKDOCS_2_WARNING=1 uv run --frozen --group docs mkdocs build --strict
