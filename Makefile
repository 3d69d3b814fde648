.PHONY: kubectl-gt-install install deploy validate
kubectl-gt-install: ; cargo xtask install
install: ; cargo xtask deploy --crds
deploy: ; cargo xtask deploy $(if $(IMG),--image $(IMG))
validate: ; cargo xtask lint
