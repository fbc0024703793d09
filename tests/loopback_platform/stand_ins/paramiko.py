"""For the SDK's command line, which a worker imports and never uses: a tenth of each start."""
