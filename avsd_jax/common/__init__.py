"""What every room uses: files that appear whole, choice by name, kinds of values, worker processes."""
